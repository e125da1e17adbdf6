"""The questions' commands: what is planned, written and printed, and what stops them."""

from __future__ import annotations

import re

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from pe_inspect.analysis import questions

GRID = ("--grid-size", "3x4")
FIRST = "learned_absolute · 3×4 + 1 prefix · D=8 · 2 layers · join=lape"
ASKED = {
    "similarity": (),
    "interpolate": ("--grid", "5x6"),
    "layernorm": (),
    "structure": (),
}


def arrays(path) -> dict[str, np.ndarray]:
    with np.load(path) as file:
        return dict(file)


def written(done) -> list[str]:
    lines = done.out.splitlines()
    return [line.removeprefix("Wrote ") for line in lines if line.startswith("Wrote ")]


@pytest.fixture(params=ASKED)
def asked(request, checkpoint):
    """The words of one question's command line."""
    return [request.param, checkpoint, *GRID, *ASKED[request.param], "--dpi", 20]


def test_the_first_line_is_what_was_found_and_the_last_what_was_written(run, asked, here):
    done = run(*asked)
    assert done.code == 0
    lines = done.out.splitlines()
    change = " · 3×4 → 5×6 (80×96 px), deit, bicubic" if asked[0] == "interpolate" else ""
    assert lines[0] == FIRST + change
    assert lines[-1].startswith("Wrote reports/tiny/")
    assert f"reports/tiny/{asked[0]}.png" in written(done)
    assert all((here / path).read_bytes().startswith(b"\x89PNG") for path in written(done))
    assert "Note: " in done.err


def test_json_is_one_strict_object_and_names_everything(run, asked, here):
    done = run(*asked, "--json", "--quiet")
    assert (done.code, done.err) == (0, "")
    found = done.json
    assert found["question"] == asked[0]
    assert found["source"].endswith("tiny.safetensors")
    assert len(found["sha256"]) == 64
    assert found["keys"][0] == "pos_embed"
    assert found["summary"]
    assert found["notes"]
    assert found["command"].startswith(f"pe-inspect {asked[0]} ")
    assert found["versions"]["numpy"] == np.__version__
    assert f"reports/tiny/{asked[0]}.png" in found["written"]
    assert all((here / path).is_file() for path in found["written"])
    [entry] = found["embeddings"]
    assert (entry["family"], entry["summary"]) == ("learned_absolute", found["summary"])
    assert entry["parameters"] == found["parameters"]


@pytest.mark.parametrize("value", [np.inf, np.nan])
@pytest.mark.parametrize("question", [*ASKED, "report"])
def test_a_row_that_is_not_finite_warns_of_nothing(run, save_vit, question, value):
    """Warnings are errors here: one would end the command as a bug."""
    path = save_vit("broken.safetensors", lape=False)
    tensors = load_file(path)
    tensors["pos_embed"][0, 5] = value
    save_file(tensors, path)
    options = (*ASKED[question], "--dpi", 20) if question in ASKED else ()
    done = run(question, path, *GRID, *options, "--quiet")
    assert (done.code, done.err) == (0, "")


def test_no_figures_writes_nothing(run, similar, here):
    done = run(*similar, "--no-figures")
    assert done.code == 0
    assert written(done) == []
    assert not (here / "reports").exists()


def test_quiet_leaves_the_first_line_and_the_files(run, similar):
    done = run(*similar, "--quiet")
    assert done.err == ""
    assert [line for line in done.out.splitlines() if not line.startswith("Wrote")] == [FIRST]


def test_a_second_run_replaces_the_files_with_the_same_bytes(run, asked, here):
    paths = written(run(*asked))
    first = [(here / path).read_bytes() for path in paths]
    assert written(run(*asked)) == paths
    assert [(here / path).read_bytes() for path in paths] == first


@pytest.mark.parametrize("format", ["svg", "pdf"])
def test_vector_files_are_the_same_bytes_twice(run, checkpoint, here, format):
    words = ["similarity", checkpoint, *GRID, "--format", format]
    first = {path: (here / path).read_bytes() for path in written(run(*words))}
    assert first
    assert {path: (here / path).read_bytes() for path in written(run(*words))} == first
    assert all(path.endswith(f".{format}") for path in first)


def test_similarity_saves_the_contracts_arrays(run, checkpoint, here):
    run("similarity", checkpoint, *GRID, "--save-data", "--no-figures")
    saved = arrays(here / "reports/tiny/similarity.npz")
    assert saved["layers"].shape == (2, 1, 12, 12)
    assert saved["raw"].shape == (1, 1, 12, 12)
    assert saved["layer_names"].tolist() == ["blocks.0", "blocks.1"]
    assert saved["grid_size"].tolist() == [3, 4]
    header = (here / "reports/tiny/similarity.csv").read_text().splitlines()[0]
    assert header.startswith("layer,")


def test_interpolate_saves_the_contracts_arrays(run, checkpoint, here):
    words = ("--save-data", "--no-figures", "--method", "bicubic,bilinear")
    run("interpolate", checkpoint, *GRID, "--grid", "5x6", *words)
    saved = arrays(here / "reports/tiny/interpolate.npz")
    assert saved["values"].shape == (1, 30, 8)
    assert saved["prefix"].shape == (1, 1, 8)
    assert saved["methods"].tolist() == ["bicubic", "bilinear"]
    np.testing.assert_array_equal(saved["values"], saved["values/bicubic"])


def test_matrix_saves_the_separable_matrices(run, checkpoint, here):
    run("interpolate", checkpoint, *GRID, "--grid", "5x6", "--matrix", "--no-figures",
        "--method", "jax,mae-decoder,bicubic")  # fmt: skip
    folder = here / "reports/tiny"
    saved = arrays(folder / "interpolate_matrices.npz")
    assert not (folder / "interpolate.npz").exists()
    assert (saved["W_h"].shape, saved["W_w"].shape) == ((5, 3), (6, 4))
    np.testing.assert_array_equal(saved["W_h"], saved["W_h/jax"])
    assert saved["not_separable"].tolist() == ["mae-decoder"]
    assert "W_w/bicubic" in saved


def test_a_method_without_matrices_is_code_2(run, checkpoint):
    options = ("--grid", "5x6", "--matrix", "--no-figures", "--method", "mae-decoder")
    done = run("interpolate", checkpoint, *GRID, *options)
    assert done.code == 2
    assert "--matrix: mae-decoder cannot be written as one matrix for rows and one" in done.err


def test_several_methods_are_compared_on_the_terminal_and_in_json(run, checkpoint):
    options = ("--grid", "5x6", "--no-figures", "--method", "bicubic,deit,bilinear")
    lines = run("interpolate", checkpoint, *GRID, *options).out.splitlines()
    head = next(k for k, line in enumerate(lines) if line.split()[:1] == ["method"])
    assert lines[head].split() == [
        "method", "norm", "ratio", "structure", "round", "trip", "off", "native", "also",
    ]  # fmt: skip
    assert [line.split()[0] for line in lines[head + 1 : head + 3]] == ["bicubic", "bilinear"]
    assert lines[head + 1].endswith("deit")
    methods = run("interpolate", checkpoint, *GRID, *options, "--json").json["embeddings"][0]
    assert methods["methods"]["deit"]["rule"] == "bicubic"
    assert methods["methods"]["bilinear"]["norm_ratio"] < 1.2


def test_the_native_rule_is_named_with_what_told_so(run, checkpoint):
    done = run("interpolate", checkpoint, *GRID, "--grid", "5x6", "--no-figures")
    assert "Note: native is the rule of " in done.err


def test_layernorm_saves_the_contracts_table(run, checkpoint, here):
    run("layernorm", checkpoint, *GRID, "--save-data", "--no-figures")
    rows = (here / "reports/tiny/layernorm.csv").read_text().splitlines()
    assert rows[0].startswith("layer,name,weight_mean,weight_std,weight_min,weight_max,weight_l2")
    assert len(rows) == 1 + 7
    saved = arrays(here / "reports/tiny/layernorm.npz")
    assert set(rows[0].split(",")) <= set(saved)
    assert saved["layer"].tolist() == [row.split(",")[0] for row in rows[1:]]
    gamma = load_file(checkpoint)["blocks.1.pe_norm.weight"]
    np.testing.assert_array_equal(saved["weights/pe_norm"][1], gamma)
    assert saved["decomposition/layer"].shape == saved["decomposition/scale"].shape == (2 * 6,)


def test_res_is_in_pixels(run, checkpoint):
    done = run("interpolate", checkpoint, *GRID, "--res", "96x128", "--json", "--no-figures")
    assert done.json["parameters"]["grid"] == [6, 8]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--res", "100"], "--res 100 is no whole number of 16-pixel patches"),
        (["--grid", "5x6", "--method", "bicubc"], "Unknown method 'bicubc'. Did you mean"),
        (["--grid", "100000x100000"], "would take"),
        (["--grid", "5x6", "--token", "3,0"], "--token 3,0 is outside the 3×4 grid"),
        (
            ["--grid", "5x6", "--token", "99,99", "--no-figures"],
            "--token 99,99 is outside the 3×4 grid: rows 0–2, columns 0–3",
        ),
    ],
)
def test_an_impossible_target_is_code_2(run, checkpoint, options, said):
    done = run("interpolate", checkpoint, *GRID, *options)
    assert done.code == 2
    assert said in done.err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--token", "99,0"], "--token 99,0 is outside the 3×4 grid: rows 0–2, columns 0–3"),
        (["--layer", "blocks.7"], "'blocks.7'"),
        (["--head", "5"], "5"),
    ],
)
def test_what_is_not_in_the_model_is_code_2(run, checkpoint, here, options, said):
    done = run("similarity", checkpoint, *GRID, *options)
    assert done.code == 2
    assert said in done.err
    assert not (here / "reports").exists()


def test_methods_are_listed_with_what_they_do(run, here):
    done = run("interpolate", "--method", "list")
    assert done.code == 0
    assert "bicubic-aa\n    " in done.out
    assert "native of idefics2_vision, idefics3_vision" in " ".join(done.out.split())
    listed = run("interpolate", "--method", "list", "--json").json["methods"]
    assert {each["name"] for each in listed} >= {"native", "timm", "bicubic"}


def test_each_writes_every_map_to_a_file_of_its_own(run, checkpoint):
    plain = written(run("similarity", checkpoint, *GRID, "--dpi", 20))
    done = written(run("similarity", checkpoint, *GRID, "--dpi", 20, "--each"))
    assert len(done) == len(plain) + 1 + 2 * 2  # the raw query map; N×N and query map a layer


def test_a_layer_that_is_chosen_has_the_file_name_that_it_has_among_all(run, save_vit):
    save_vit("deep.safetensors", rows=3, columns=3, depth=11)
    asked = ("similarity", "deep.safetensors", "--dpi", 20, "--each")
    chosen = written(run(*asked, "--layer", 3))
    assert "reports/deep/similarity_blocks.03.png" in chosen
    assert set(chosen) <= set(written(run(*asked)))


def test_two_schemes_are_two_answers_with_their_own_files(run, two_schemes):
    done = run("similarity", two_schemes, "--json", "--dpi", 20, "--save-data")
    found = done.json
    assert [one["family"] for one in found["embeddings"]] == ["learned_absolute", "relative_bias"]
    assert "reports/two/similarity.npz" in found["written"]
    assert "reports/two/similarity_relative_bias.npz" in found["written"]
    only = run("similarity", two_schemes, "--family", "relative_bias", "--dpi", 20)
    assert "reports/two/similarity.png" in written(only)


def test_an_answer_that_does_not_apply_to_one_scheme_is_a_note(run, two_schemes, monkeypatch):
    from pe_inspect.errors import UsageError

    original = questions["similarity"]

    def only_vectors(pe, **options):
        if pe.kind != "vectors":
            raise UsageError("not for a bias")
        return original(pe, **options)

    monkeypatch.setattr("pe_inspect.analysis.similarity.similarity", only_vectors)
    done = run("similarity", two_schemes, "--json", "--no-figures")
    assert done.code == 0
    assert "Note: not for a bias" in done.err
    assert [one.get("error") for one in done.json["embeddings"]] == [None, "not for a bias"]
    refused = run("similarity", two_schemes, "--no-figures", "--family", "relative_bias")
    assert (refused.code, "Error: not for a bias" in refused.err) == (2, True)


def test_without_a_name_the_newest_checkpoint_is_asked(run, save_vit, here):
    (here / "checkpoints").mkdir()
    save_vit("checkpoints/mine.safetensors", rows=4, columns=4)
    done = run("similarity", "--no-figures")
    assert done.code == 0
    assert "no CHECKPOINT given: the newest, checkpoints/mine.safetensors" in done.err


def test_structure_prints_its_finding_and_every_index_beside_its_baselines(run, checkpoint, here):
    done = run("structure", checkpoint, *GRID, "--save-data", "--no-figures")
    lines = done.out.splitlines()

    assert lines[1].startswith("The map of a patch is ")
    (ssdc,) = (line for line in lines if line.startswith("  ssdc_l1 "))
    assert all(f"{name} " in ssdc for name in ("shuffled", "random", "sincos2d"))
    table = (here / "reports/tiny/structure.csv").read_text().splitlines()
    assert table[0].startswith("layer,ssdc_l1,ssdc_l2,translation_share,half_radius,monotone_share")
    assert [line.partition(",")[0] for line in table[1:]] == ["stored", "blocks.0", "blocks.1"]
    saved = arrays(here / "reports/tiny/structure.npz")
    assert saved["offset_profile"].shape == (3, 5, 7)


def test_structure_takes_another_size_of_rotations_alone(run, checkpoint):
    done = run("structure", checkpoint, *GRID, "--res", "384", "--no-figures")
    assert done.code == 2
    assert "another size is asked of rotations" in done.err


def test_filters_are_asked_of_the_checkpoint(run, checkpoint, here):
    done = run("filters", checkpoint, *GRID, "--save-data", "--dpi", 20)
    assert done.code == 0
    assert "components explain 90" in done.out
    assert (here / "reports/tiny/filters.png").is_file()
    assert arrays(here / "reports/tiny/filters.npz")["tiles"].ndim == 4


def test_figures_for_print_are_asked_for_by_the_same_options_everywhere(run, checkpoint, here):
    done = run("similarity", checkpoint, "--style", "paper", "--width", "8.3cm", "--format", "svg",
               "--token", "0,0", "--token", "1,2", "--tiles", "2x2", "--layer", "1",
               *GRID)  # fmt: skip
    assert done.code == 0
    (page,) = (here / "reports").glob("*/similarity_query.svg")
    width = float(re.search(r'<svg[^>]* width="([\d.]+)pt"', page.read_text())[1])
    assert width == pytest.approx(8.3 / 2.54 * 72, abs=0.1)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--style", "web"), "--style web is not one of screen, paper."),
        (("--width", "wide"), "--width 'wide' is no width; they are like 3.25in"),
        (("--width", "1in"), "is not within 2 to 20 in"),
        (("--cmap", "viridiss"), "no colour map 'viridiss'. Did you mean 'viridis'"),
        (("--tiles", "0x2"), "both sides must be at least 1"),
    ],
)
def test_a_look_that_cannot_be_stops_before_anything_is_opened(run, words, said):
    done = run("similarity", "nowhere.pth", *words)
    assert done.code == 2
    assert said in done.err
