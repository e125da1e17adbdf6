"""`pe-inspect doctor`: what it prints, and the code that it ends with."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from safetensors.numpy import load_file, save_file

import pe_inspect
from pe_inspect.commands.shell.diagnosis_text import mend_lines, reading_lines
from pe_inspect.diagnosis.doctor import doctor
from pe_inspect.diagnosis.ranked import Ranked
from pe_inspect.diagnosis.readings import Readings, readings
from pe_inspect.families.reading.tokens import PrefixTokens
from pe_inspect.finding import Finding
from pe_inspect.loading import Checkpoint

SHIPPED = sorted(Path(__file__).parents[2].glob("checkpoints/*/model.safetensors"))
NO_GRADIENT = "1 of 19 norms are exactly γ = 1, β = 0: blocks.5.attn.pe_norm."
# The class token, which has no bias, is all that is read of the last block.
TRUE_OF = {"zoo-rel-bias-1d-lape": [NO_GRADIENT], "zoo-rel-bias-2d-lape": [NO_GRADIENT]}


def smooth(grid, width=32, seed=0):
    """A table as training makes it: low frequencies and noise."""
    random = np.random.default_rng(seed)
    y, x = np.indices(grid)
    waves = np.stack(
        [
            np.cos(np.pi * i * (y + 0.5) / grid[0]) * np.cos(np.pi * j * (x + 0.5) / grid[1])
            for i in range(4)
            for j in range(4)
        ],
        axis=-1,
    ).reshape(-1, 16)
    table = waves @ random.normal(size=(16, width)) + 0.3 * random.normal(size=(len(waves), width))
    return (0.05 * table).astype(np.float32)


def trained(grid=(14, 14), width=32, depth=2, prefix=1, patch=16):
    random = np.random.default_rng(1)
    rows = 0.02 * random.normal(size=(prefix, width)).astype(np.float32)
    state = {
        "cls_token": random.normal(size=(1, 1, width)),
        "pos_embed": np.concatenate([rows, smooth(grid, width)])[None],
        "patch_embed.proj.weight": random.normal(size=(width, 3, patch, patch)),
        "norm.weight": random.normal(1, 0.1, width),
        "norm.bias": random.normal(0, 0.1, width),
    }
    for block, name in ((b, n) for b in range(depth) for n in ("norm1", "norm2")):
        state[f"blocks.{block}.{name}.weight"] = random.normal(1, 0.1, width)
        state[f"blocks.{block}.{name}.bias"] = random.normal(0, 0.1, width)
    return {key: values.astype(np.float32) for key, values in state.items()}


@pytest.fixture
def save(here):
    def write(name="vit.safetensors", **shape):
        save_file(trained(**shape), here / name)
        return name

    return write


def edit(name, **tensors):
    save_file({**load_file(name), **tensors}, name)


def test_a_healthy_checkpoint_ends_with_0(run, save):
    done = run("doctor", save())
    assert done.code == 0
    lines = done.out.splitlines()
    assert lines[0] == "learned_absolute · 14×14 + 1 prefix · D=32 · 2 layers · join=input"
    assert lines[2].startswith("Healthy: ")
    assert lines[2].endswith(" checks found nothing.")
    assert lines[4] == "pos_embed: 197 rows are read as"
    assert lines[5].startswith(
        "  1 prefix + 14×14  taken · square, with the model's own prefix tokens · neighbours correl"
    )


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.parent.name)
def test_the_shipped_checkpoints_have_no_finding_but_true_ones(run, here, path):
    done = run("doctor", path, "--json")
    if path.parent.name == "zoo-none":
        assert (done.code, done.out) == (4, "")
        return
    expected = TRUE_OF.get(path.parent.name, [])
    assert [each["message"] for each in done.json["findings"]] == expected
    assert done.code == (6 if expected else 0)


def test_a_finding_says_what_was_seen_why_it_matters_and_what_to_do(run, save):
    name = save()
    edit(name, pos_embed=np.zeros((1, 197, 32), np.float32))
    done = run("doctor", name)
    assert done.code == 6
    start = done.out.index("1 finding in ")
    lead, *lines = done.out[start:].splitlines()
    assert lead.endswith(" checks: constant.")
    assert lines == [
        "",
        "constant (error)",
        "  pos_embed is zero everywhere.",
        "  It adds the same to every token, and so tells the model nothing of position.",
        "  → If the model was meant to learn it, check that the parameter is given to the "
        "optimiser and",
        "    does not decay to zero; if it was loaded, that its name matched.",
        "",
        "pos_embed: 197 rows are read as",
        "  1 prefix + 14×14  taken · square, with the model's own prefix tokens",
    ]


@pytest.mark.parametrize("columns", [40, 60])
def test_a_narrow_terminal_gets_narrow_lines_and_whole_commands(run, save, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    name = save(depth=1)
    other = save("other.safetensors", grid=(7, 7), prefix=5)
    wide = run("doctor", name, "--against", other, "--expect-res", "384")
    first, *lines = wide.out.splitlines()
    assert first.startswith("learned_absolute")
    pasted = f"  → pe-inspect interpolate {name} --grid 24x24 --write vit-24x24.safetensors"
    assert pasted in lines
    assert "  → state = load_file('vit.safetensors')" in lines
    assert all(len(line) <= columns for line in lines if not line.startswith("  → "))
    assert "    taken · square, with the model's" in "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        (
            "Check that it was loaded: pe-inspect info a/b.pth --json lists the keys of it.",
            [
                "  → Check that it was loaded:",
                "    pe-inspect info a/b.pth --json lists",
                "    the keys of it.",
            ],
        ),
        (
            "Look for it with `pe-inspect interpolate x --grid 3x4 --write y`, then.",
            [
                "  → Look for it with",
                "    `pe-inspect interpolate x --grid 3x4 --write y`,",
                "    then.",
            ],
        ),
        ("state[k] = f(state[k], of=[3, 4], and=[5, 6])", None),
    ],
)
def test_what_is_to_be_pasted_stays_in_one_line(monkeypatch, text, lines):
    monkeypatch.setenv("COLUMNS", "40")
    assert mend_lines(text, is_run=lines is None) == (lines or [f"  → {text}"])


def test_quiet_prints_a_line_a_finding(run, save):
    name = save()
    edit(name, pos_embed=np.zeros((1, 197, 32), np.float32))
    done = run("doctor", name, "-q")
    assert done.out.splitlines()[1:] == ["constant: pos_embed is zero everywhere."]
    assert done.err == ""


def test_the_json_is_for_scripts(run, save):
    name = save()
    table = load_file(name)["pos_embed"].copy()
    table[0, 5, 1] = np.nan
    edit(name, pos_embed=table)
    done = run("doctor", name, "--json")
    assert done.code == 6
    assert done.json["healthy"] is False
    (finding,) = done.json["findings"]
    assert set(finding) == {
        "code",
        "severity",
        "where",
        "message",
        "why",
        "evidence",
        "mend",
        "runs_in",
    }
    assert finding["code"] == "non-finite"
    assert finding["evidence"] == {"nan": 1, "infinite": 0, "tensors": ["pos_embed"]}
    first = done.json["readings"][0]
    assert first == {
        "key": "pos_embed",
        "rows": 197,
        "grid_size": [14, 14],
        "num_prefix_rows": 1,
        "taken": True,
        "why": "square, with the model's own prefix tokens",
        "neighbour_correlation": None,
    }
    assert sum(each["taken"] for each in done.json["readings"]) == 1


def test_python_gives_what_the_command_gives(run, save):
    name = save(grid=(12, 16))
    other = save("other.safetensors", grid=(24, 24))
    done = run("doctor", name, "--expect", 577, "--against", other, "--json").json
    found = pe_inspect.doctor(pe_inspect.load(name), expect=577, against=pe_inspect.load(other))
    assert [each.as_dict() for each in found.findings] == done["findings"]
    assert [each.as_dict() for each in found.readings] == done["readings"]
    assert list(found.checks) == done["checks"]
    assert found.pe is found.tables[0]
    assert found.summary()["findings"] == len(found.to_frame()) == len(done["findings"])
    assert found.finding.endswith(" checks: mismatch-rows (2).")


def test_what_is_allowed_is_listed_and_does_not_count(run, save):
    name = save()
    edit(name, pos_embed=load_file(name)["pos_embed"].astype(np.float16).astype(np.float32))
    assert run("doctor", name, "-q").code == 6
    done = run("doctor", name, "--allow", "half-precision", "--json")
    assert done.code == 0
    assert done.json["healthy"] is True
    assert done.json["findings"] == []
    assert [each["code"] for each in done.json["allowed"]] == ["half-precision"]
    found = pe_inspect.doctor(name, allow=["half-precision"])
    assert found.healthy
    assert [each.as_dict() for each in found.allowed] == done.json["allowed"]
    assert "1 allowed (half-precision)" in run("doctor", name, "--allow", "half-precision").out


def test_an_unknown_code_cannot_be_allowed(run, save):
    done = run("doctor", save(), "--allow", "half-precison")
    assert done.code == 2
    assert done.err == "Error: Unknown finding 'half-precison'. Did you mean 'half-precision'?\n"


def paste(run, mend):
    """Run what a mend says: a command line, or lines of Python."""
    if mend.startswith("pe-inspect "):
        assert run(*shlex.split(mend)[1:], "--no-figures").code == 0
    else:
        exec(mend, {})


def test_a_mismatch_is_explained_with_its_mend(run, save):
    done = run("doctor", save(grid=(24, 24)), "--expect", 197, "--json")
    assert done.code == 6
    (finding,) = done.json["findings"]
    assert finding["code"] == "mismatch-rows"
    assert finding["message"] == (
        "pos_embed has 577 rows = 1 + 24×24 (384 px at patch 16); your model (--expect 197) "
        "expects 197 = 1 + 14×14 (224 px at patch 16). The prefix rows are the same; the image "
        "size differs."
    )
    assert finding["mend"] == (
        "pe-inspect interpolate vit.safetensors --grid 14x14 --write vit-14x14.safetensors"
    )


@pytest.mark.parametrize(("grid", "made"), [((6, 6), "8x8"), ((3, 4), "16x4")])
def test_the_lines_that_mend_it_work_as_pasted(run, save, grid, made):
    stated = ["--grid-size", "x".join(map(str, grid)), "--num-prefix-tokens", 1]
    finding = run("doctor", save(grid=grid), *stated, "--expect", 65, "--json").json["findings"][0]
    paste(run, finding["mend"])
    assert load_file(f"vit-{made}.safetensors")["pos_embed"].shape == (1, 65, 32)
    again = run("doctor", f"vit-{made}.safetensors", "--expect", 65, "--json").json["findings"]
    assert "mismatch-rows" not in [each["code"] for each in again]


def test_a_state_dict_within_a_file_of_torch_is_mended_in_its_place(run, here):
    state = {f"module.{key}": torch.tensor(value) for key, value in trained(grid=(6, 6)).items()}
    torch.save({"model": state, "epoch": 3}, "run.pth")
    finding = run("doctor", "run.pth", "--expect", 65, "--json").json["findings"][0]
    paste(run, finding["mend"])
    mended = torch.load("run-8x8.pth", weights_only=True)
    assert mended["epoch"] == 3
    assert mended["model"]["module.pos_embed"].shape == (1, 65, 32)


def test_no_resampling_is_proposed_for_a_table_of_another_width(run, save):
    narrow, wide = save("narrow.safetensors"), save("wide.safetensors", grid=(6, 6), width=48)
    found = run("doctor", narrow, "--against", wide, "--json").json["findings"]
    mends = {each["code"]: each["mend"] for each in found}
    assert set(mends) == {"mismatch-width", "mismatch-rows"}
    assert mends["mismatch-rows"] == (
        "None: the widths differ too (mismatch-width), and no resampling changes those."
    )


def test_a_row_that_was_folded_into_its_token_is_named_and_restored(run, save):
    name = save(grid=(7, 7))
    edit(name, pos_embed=load_file(name)["pos_embed"][:, 1:].copy())
    assert run("doctor", name).code == 0
    (finding,) = run("doctor", name, "--expect", 50, "--json").json["findings"]
    assert finding["message"] == (
        "pos_embed has 49 rows = 0 + 7×7 (112 px at patch 16); your model (--expect 50) expects "
        "50 = 1 + 7×7 (112 px at patch 16). The grid is the same; the CLS row was folded into "
        "cls_token (timm's reg4 layout)."
    )
    assert finding["evidence"]["folded_prefix_rows"] == 1
    exec(finding["mend"], {})
    assert not load_file("vit-mended.safetensors")["pos_embed"][0, 0].any()


@pytest.mark.parametrize(
    ("pixels", "code"), [("224", 0), ("224x224", 0), ("384", 6), ("224x384", 6)]
)
def test_a_resolution_can_be_expected(run, save, pixels, code):
    assert run("doctor", save(), "--expect-res", pixels, "-q").code == code


def test_another_checkpoint_can_be_the_measure(run, save):
    small, large = save("small.safetensors"), save("large.safetensors", grid=(24, 24))
    assert run("doctor", small, "--against", small).code == 0
    done = run("doctor", small, "--against", large, "-q")
    assert done.code == 6
    assert "mismatch-rows: pos_embed has 197 rows = 1 + 14×14" in done.out
    assert "large.safetensors expects 577 = 1 + 24×24" in done.out


def test_a_rectangle_is_read_by_its_values(run, save):
    done = run("doctor", save(grid=(12, 16)), "--json")
    assert done.code == 0
    assert done.json["embeddings"][0]["grid_size"] == [12, 16]
    assert "grid 12×16 shown by the values of the table" in done.json["notes"]


def test_a_rectangle_whose_values_show_nothing_is_said_to_be_ambiguous(run, save):
    name = save(grid=(12, 16))
    noise = np.random.default_rng(5).normal(0, 0.02, (1, 193, 32))
    edit(name, pos_embed=noise.astype(np.float32))
    done = run("doctor", name, "--json")
    assert done.code == 6
    finding = done.json["findings"][0]
    assert finding["code"] == "ambiguous-grid"
    height, width = finding["evidence"]["likeliest_grid_size"]
    assert height * width == 192
    assert finding["mend"] == (
        f"pe-inspect info vit.safetensors --grid-size {height}x{width} --num-prefix-tokens 1"
    )
    assert not any(each["taken"] for each in done.json["readings"])
    assert f"examined as 1 prefix + {height}×{width}, the likeliest reading" in done.json["notes"]


def test_a_stated_rectangle_is_healthy_and_its_transpose_is_not(run, save):
    name = save(grid=(12, 16))
    assert run("doctor", name, "--grid-size", "12x16").code == 0
    done = run("doctor", name, "--grid-size", "16x12", "--json")
    assert [each["code"] for each in done.json["findings"]] == ["axis-order"]


def test_a_bare_table_with_one_square_reading_is_not_called_ambiguous(run, here):
    np.save("table.npy", np.concatenate([np.ones((1, 32)), smooth((14, 14))]).astype(np.float32))
    done = run("doctor", "table.npy", "--json")
    assert [each["code"] for each in done.json["findings"]] == ["grid-not-stated"]
    assert run("doctor", "table.npy", "--num-prefix-tokens", 1).code == 0


def test_a_file_that_contradicts_itself_is_a_finding(run, save):
    name = save()
    edit(
        name, **{f"blocks.1.pe_norm.{part}": np.ones(7, np.float32) for part in ("weight", "bias")}
    )
    done = run("doctor", name, "--json")
    assert done.code == 6
    (finding,) = done.json["findings"]
    assert finding["code"] == "ambiguous"
    assert "a position norm acts on the table's rows" in finding["message"]


def test_no_position_embedding_is_code_4(run, here):
    save_file({"conv.weight": np.ones((2, 2), np.float32)}, "cnn.safetensors")
    done = run("doctor", "cnn.safetensors")
    assert done.code == 4
    assert done.err.startswith("Error: No position embedding in cnn.safetensors")


ARCHITECTURES = {
    "vit_tiny_patch16_224": (14, 1),
    "deit_tiny_distilled_patch16_224": (14, 2),
    "deit3_small_patch16_224": (14, 0),
    "vit_small_patch14_reg4_dinov2": (37, 0),
    "vit_base_patch32_clip_quickgelu_224": (7, 1),
    "vit_base_patch16_siglip_224": (14, 0),
    "eva02_tiny_patch14_224": (16, 1),
    "flexivit_small": (15, 0),
}


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_timms_models_with_trained_tables_are_healthy(name):
    side, prefix = ARCHITECTURES[name]
    found = doctor(as_trained(name, side, prefix))
    assert [finding.message for finding in found.findings] == []
    taken = [each.reading for each in found.readings if each.is_taken]
    assert [(each.grid_size, each.num_prefix_rows) for each in taken] == [((side, side), prefix)]


def as_trained(name, side, prefix):
    """timm's names and shapes, with a trained table and norms; nothing else is read."""
    with torch.device("meta"):
        shapes = {key: tuple(v.shape) for key, v in timm.create_model(name).state_dict().items()}
    random = np.random.default_rng(0)
    state = {key: np.broadcast_to(np.float32(0), shape) for key, shape in shapes.items()}
    for key, shape in shapes.items():
        if len(shape) == 1 and "norm" in key:
            state[key] = random.normal(key.endswith("weight"), 0.1, shape).astype(np.float32)
    rows = random.normal(0, 0.02, (prefix, shapes["pos_embed"][-1])).astype(np.float32)
    table = smooth((side, side), shapes["pos_embed"][-1])
    return Checkpoint.from_state_dict({**state, "pos_embed": np.concatenate([rows, table])[None]})


@pytest.mark.subprocess
def test_neither_torch_nor_timm_is_loaded(save, here):
    code = (
        "import sys; sys.argv = ['pe-inspect', 'doctor', sys.argv[1], '--quiet'];"
        "import atexit; atexit.register(lambda: print(*sys.modules));"
        "from pe_inspect.commands import main; main()"
    )
    words = [sys.executable, "-c", code, str(here / save())]
    root = Path(__file__).parents[2]
    done = subprocess.run(words, cwd=root, capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert loaded.isdisjoint({"torch", "timm", "matplotlib", "pandas", "sklearn", "scipy"})


def test_nothing_is_written(run, save, here):
    name = save()
    assert run("doctor", name).code == 0
    assert [path.name for path in here.iterdir()] == [name]


TWO_WAYS = readings(37, PrefixTokens(1))


@pytest.mark.parametrize(
    ("evidence", "is_taken", "every_way"),
    [
        (None, True, False),  # nothing was found of this table
        ({"p": 0.5}, True, False),  # a finding that says nothing of the grid
        ({"smoothest_grid_size": [4, 9]}, True, True),
        (None, False, True),
    ],
)
def test_other_ways_to_read_a_table_are_shown_only_where_they_matter(evidence, is_taken, every_way):
    held = Readings("pos_embed", 37, TWO_WAYS[:2], TWO_WAYS[0] if is_taken else None)
    ranked = [Ranked(held, way, alike) for way, alike in zip(TWO_WAYS, (0.2, 0.9))]
    found = Finding("x", "pos_embed", "a", "b", "c", evidence or {})
    findings = [] if evidence is None else [found]

    text = "\n".join(reading_lines(ranked, findings))

    assert ("can be read as" in text) == every_way
    assert (str(TWO_WAYS[1]) in text) == every_way


def test_a_table_that_is_read_in_no_way_shows_all_of_them():
    held = Readings("pos_embed", 37, TWO_WAYS[:2], None)
    ranked = [Ranked(held, way, None) for way in TWO_WAYS[:2]]
    assert "can be read as" in "\n".join(reading_lines(ranked, []))
