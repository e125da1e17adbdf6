"""`interpolate --write`: what is printed, what is written, and what is refused."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file


@pytest.fixture
def vit(here):
    """A table of 3×4 patches of 4 pixels, and a kernel."""
    rng = np.random.default_rng(0)
    state = {
        "cls_token": np.ones((1, 1, 8), np.float32),
        "pos_embed": rng.normal(size=(1, 13, 8)).astype(np.float32),
        "patch_embed.proj.weight": rng.normal(size=(8, 3, 4, 4)).astype(np.float32),
        "blocks.0.norm1.weight": np.ones(8, np.float32),
    }
    save_file(state, here / "vit.safetensors")
    return ("vit.safetensors", "--grid-size", "3x4")


def test_the_last_line_names_the_new_file(run, vit):
    done = run("interpolate", *vit, "--res", "20x28", "--write", "new.safetensors", "--no-figures")
    assert done.code == 0
    assert done.out.splitlines()[0].endswith(
        "3×4 → 5×7 (20×28 px), rule unknown, timm's is shown, bicubic-aa"
    )
    assert done.out.splitlines()[-2:] == [
        "new.safetensors: pos_embed 13→36, 1 of 4 tensors; the rest copied",
        "Wrote new.safetensors",
    ]
    assert "Note: no table stores its grid: read the new file with --grid-size 5x7" in done.err
    assert load_file("new.safetensors")["pos_embed"].shape == (1, 36, 8)


def test_json_tells_every_tensor_that_changed(run, vit):
    done = run("interpolate", *vit, "--grid", "5x7", "--write", "new.safetensors", "--json",
               "--no-figures")  # fmt: skip
    assert done.json["written"] == ["new.safetensors"]
    assert done.json["baked"]["tensors"] == {"pos_embed": {"from": [1, 13, 8], "to": [1, 36, 8]}}
    assert done.json["baked"]["from_grid_size"] == [3, 4]


def test_another_patch_size_resizes_the_kernel(run, vit):
    done = run("interpolate", *vit, "--res", "20x28", "--patch-size", 2, "--write",
               "new.safetensors", "--no-figures")  # fmt: skip
    assert done.code == 0
    found = load_file("new.safetensors")
    assert found["patch_embed.proj.weight"].shape == (8, 3, 2, 2)
    assert found["pos_embed"].shape == (1, 141, 8)
    assert "PI-resized from 4×4 to 2×2 pixels" in done.err


def test_what_renormalise_does_not_touch_is_said(run, here):
    tables = {"blocks.0.attn.rel_pos.relative_position_bias_table": np.ones((35, 2), np.float32)}
    save_file(tables, here / "bias.safetensors")
    words = ("--grid-size", "3x4", "--grid", "5x7", "--no-figures", "--write", "new.safetensors")
    done = run("interpolate", "bias.safetensors", *words, "--renormalise", "--method", "nearest")
    assert done.code == 0, done.err
    assert "--renormalise is for vectors, and changed nothing of this one" in done.err
    assert "Note: relative_bias: resampled by nearest\n" in done.err


def peg():
    return {"pos_block.0.proj.0.weight": np.ones((8, 1, 3, 3), np.float32)}


def clipped():
    """s-chh's relative vectors: 5 offsets, and a row for CLS."""
    stem = "encoder.0.attention.{}_pos_embedding.{}_relative_embedding_table.weight"
    tables = {stem.format(part, axis) for part in ("query", "value") for axis in "xy"}
    return dict.fromkeys(sorted(tables), np.ones((6, 4), np.float32))


FREE = [(peg, "it follows the size of the image by itself"), (clipped, "serves any as it is")]


@pytest.fixture(params=FREE, ids=["peg", "clipped"])
def free(request, here):
    """A file that serves any resolution as it is, and what is said of it."""
    make, said = request.param
    save_file({**make(), "blocks.0.0.norm1.weight": np.ones(8, np.float32)}, here / "a.safetensors")
    return ("a.safetensors", "--grid-size", "3x4", "--grid", "5x7"), said


@pytest.mark.parametrize("legacy", [False, True])
def test_blocks_that_share_a_table_share_the_new_one(run, here, legacy):
    table = torch.randn(35, 2, generator=torch.Generator().manual_seed(0))
    tables = {"0": table, "1": table, "2": table.detach()}
    name = "blocks.{}.attn.rel_pos.relative_position_bias_table".format
    state = {**{name(block): each for block, each in tables.items()}, "head": torch.ones(3, 2)}
    torch.save({"model": state}, "a.pth", _use_new_zipfile_serialization=not legacy)
    done = run("interpolate", "a.pth", "--grid-size", "3x4", "--grid", "5x7", "--write", "b.pth",
               "--no-figures")  # fmt: skip
    assert done.code == 0, done.err
    found = torch.load("b.pth", weights_only=True)["model"]
    assert {tuple(found[name(block)].shape) for block in tables} == {(9 * 13, 2)}
    assert len({found[name(block)].data_ptr() for block in tables}) == 1
    assert torch.equal(found["head"], state["head"])


def test_what_needs_nothing_ends_with_0_and_no_file(run, here, free):
    words, _ = free
    done = run("interpolate", *words, "--write", "new.safetensors")
    assert done.code == 0
    assert "nothing to change: no file was written" in done.err
    assert not (here / "new.safetensors").exists()


def test_what_needs_nothing_says_so_where_no_file_is_asked_for(run, free):
    words, said = free
    done = run("interpolate", *words)
    assert done.code == 0
    assert re.search(f"Note: .*othing is to be done.*{said}", done.err)
    told = run("interpolate", *words, "--json").json
    assert said in told["notes"][0]
    assert told["written"] == []


def test_a_quiet_run_says_that_there_is_no_file(run, free):
    words, _ = free
    done = run("interpolate", *words, "--write", "new.safetensors", "--quiet")
    assert done.err == "Note: nothing to change: no file was written\n"
    assert run("interpolate", *words, "--quiet").err == ""


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ("--grid", "5x7", "--method", "bicubc"),
            "Unknown method 'bicubc'. Did you mean 'bicubic'",
        ),
        (
            ("--grid", "5x7", "--method", ","),
            "--method ',' names no method. `--method list` prints",
        ),
        (("--res", "47", "--patch-size", "4"), "--res 47 is no whole number of 4-pixel patches"),
    ],
)
def test_words_without_a_meaning_end_with_2_also_where_nothing_is_to_be_done(
    run, free, words, said
):
    (path, *grid, _, _), _ = free
    for write in ((), ("--write", "new.safetensors")):
        done = run("interpolate", path, *grid, *words, *write)
        assert done.code == 2
        assert said in done.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--token", "9,9"), "--token 9,9 is outside the 3×4 grid"),
        (("--matrix", "--method", "mae-decoder"), "bicubic, or leave --matrix out."),
    ],
)
def test_a_request_that_is_refused_leaves_no_file_behind(run, vit, here, words, said):
    done = run("interpolate", *vit, "--grid", "5x7", "--write", "new.safetensors", "--save-data",
               *words)  # fmt: skip
    assert done.code == 2
    assert said in done.err
    assert [path.name for path in here.iterdir()] == ["vit.safetensors"]


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("interpolate.png", ()),
        ("interpolate.npz", ("--save-data", "--no-figures")),
        ("interpolate_matrices.npz", ("--matrix", "--json")),
    ],
)
def test_a_foreign_file_stops_it_before_the_checkpoint_is_written(run, vit, here, name, word):
    (here / "o").mkdir()
    (here / "o" / name).write_text("mine")
    done = run("interpolate", *vit, "--grid", "5x7", "--out", "o", "--write", "new.safetensors",
               *word)  # fmt: skip
    assert done.code == 2
    assert f"o/{name} exists and was not made by pe-inspect" in done.err
    assert sorted(path.name for path in here.iterdir()) == ["o", "vit.safetensors"]
    assert [path.read_text() for path in (here / "o").iterdir()] == ["mine"]


def test_a_run_that_writes_the_checkpoint_alone_looks_at_no_other_file(run, vit, here):
    (here / "o").mkdir()
    (here / "o/interpolate.png").write_text("mine")
    done = run("interpolate", *vit, "--grid", "5x7", "--out", "o", "--write", "new.safetensors",
               "--no-figures")  # fmt: skip
    assert done.code == 0
    assert (here / "new.safetensors").exists()


def test_a_file_that_this_run_does_not_make_is_left_alone(run, vit, here):
    (here / "o").mkdir()
    (here / "o/interpolate_notes.txt").write_text("mine")
    assert run("interpolate", *vit, "--grid", "5x7", "--out", "o").code == 0
    assert (here / "o/interpolate_notes.txt").read_text() == "mine"


@pytest.mark.parametrize("force", [(), ("--force",)])
@pytest.mark.parametrize(
    ("out", "write"),
    [("o", "o/interpolate_5x7.safetensors"), ("o", "p/../o/interpolate.safetensors"),
     ("n.safetensors", "n.safetensors"), ("n.safetensors/figures", "n.safetensors")],
)  # fmt: skip
def test_one_place_for_the_checkpoint_and_for_figures_is_refused(run, vit, here, out, write, force):
    done = run("interpolate", *vit, "--grid", "5x7", "--out", out, "--write", write, *force)
    assert done.code == 2
    said = f"--write {write} is a place where figures and data of this question go: --out is {out}."
    assert said in done.err
    assert [path.name for path in here.iterdir()] == ["vit.safetensors"]


@pytest.mark.parametrize("older", [False, True])
def test_its_own_size_is_refused_and_an_older_file_stays(run, vit, here, older):
    if older:
        (here / "new.safetensors").write_text("of another size")
    done = run("interpolate", *vit, "--res", "12x16", "--write", "new.safetensors", "--force")
    assert done.code == 2
    assert done.err.startswith(
        "Error: Nothing was written to new.safetensors: vit.safetensors is at 3×4 patches already"
    )
    assert not (here / "reports").exists()
    assert (here / "new.safetensors").exists() == older


def test_an_older_file_is_not_taken_for_a_new_one_where_nothing_is_to_be_done(run, free, here):
    (here / "new.safetensors").write_text("older")
    done = run("interpolate", *free[0], "--write", "new.safetensors", "--force")
    assert done.code == 2
    assert "what stands there stays: a.safetensors serves this size as it is" in done.err
    assert (here / "new.safetensors").read_text() == "older"


def test_matrices_that_do_not_exist_are_refused_before_a_figure_is_drawn(run, vit, here):
    done = run("interpolate", *vit, "--grid", "5x7", "--matrix", "--method", "mae-decoder")
    assert done.code == 2
    assert not (here / "reports").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--write", "vit.safetensors"), "is the input itself"),
        (("--write", "not-there/../vit.safetensors", "--force"), "is the input itself"),
        (("--write", "new.pth"), "its name ends in .safetensors. Pass --write new.safetensors."),
        (("--renormalise",), "--renormalise is about the file that --write makes"),
    ],
)
def test_bad_requests_end_with_2(run, vit, words, said):
    done = run("interpolate", *vit, "--grid", "5x7", *words)
    assert done.code == 2
    assert said in done.err


@pytest.mark.parametrize("columns", [40, 60, 80])
def test_the_table_of_methods_fits_a_narrow_terminal(run, vit, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    done = run("interpolate", *vit, "--grid", "5x7", "--method", "all", "--no-figures")
    lines = done.out.splitlines()
    compared = lines[lines.index("") :]
    width = max(columns, 50)  # that of four numbers, which are not broken
    assert max(map(len, compared)) <= width
    names = " ".join(" ".join(compared).split())
    assert "scale-factor+0.1 (dino, dinov2, hf-old)" in names
    numbers = [line for line in compared if re.fullmatch(r"(\s+[\d.e-]+){4}", line)]
    assert len(numbers) == sum(line[2:3].strip() != "" for line in compared) - 1


def test_a_wide_table_of_methods_has_one_line_each(run, vit, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    done = run("interpolate", *vit, "--grid", "5x7", "--method", "bilinear,clip", "--no-figures")
    assert re.search(r"^  method +norm ratio .* also$", done.out, re.MULTILINE)
    assert re.search(r"^  bicubic( +[\d.e-]+){4} +clip$", done.out, re.MULTILINE)
