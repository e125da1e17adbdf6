"""`pe-inspect info`: the contract's line and the contract's JSON."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from safetensors.numpy import save_file

from pe_inspect.commands.shell.describe import as_json
from pe_inspect.kinds.position_embedding import LayerPE, PositionEmbedding
from pe_inspect.loading import Checkpoint

LINE = "learned_absolute · 3×4 + 1 prefix · D=8 · 2 layers · join=lape"
GRID = ("--grid-size", "3x4")


def test_the_first_line_says_what_was_found(run, checkpoint):
    done = run("info", checkpoint, *GRID)
    assert done.code == 0
    assert done.out.splitlines()[0] == LINE
    assert done.err == ""


def test_the_details_name_keys_norms_parameters_and_guesses(run, checkpoint):
    out = run("info", checkpoint, *GRID).out
    for said in (
        "tiny.safetensors (safetensors, 20 tensors)",
        "vectors, stored, 136 parameters",
        "pos_embed … blocks.1.pe_norm.bias (5)",
        "blocks.0, blocks.1",
        "1, of which the table covers 1",
        "2 × norm1",
        "2 × pe_norm",
        ", norm\n",
    ):
        assert said in out
    assert "--grid-size" in out.partition("Notes")[2]


def test_quiet_leaves_the_first_line(run, checkpoint):
    assert run("info", checkpoint, *GRID, "--quiet").out == LINE + "\n"


def test_json_is_the_contracts_object(run, checkpoint):
    done = run("info", checkpoint, *GRID, "--json")
    assert (done.code, done.err) == (0, "")
    found = done.json
    assert list(found) == [
        "source",
        "sha256",
        "format",
        "architecture",
        "architectures",
        "embeddings",
        "layer_norms",
        "num_parameters",
        "notes",
    ]
    assert found["source"] == str(checkpoint)
    assert found["sha256"] is None
    assert found["architectures"] == []
    assert found["format"] == "safetensors"
    assert found["architecture"] is None
    assert found["embeddings"] == [
        {
            "family": "learned_absolute",
            "kind": "vectors",
            "join": "lape",
            "stored": True,
            "keys": found["embeddings"][0]["keys"],
            "layers": ["blocks.0", "blocks.1"],
            "grid_size": [3, 4],
            "num_prefix_tokens": 1,
            "num_prefix_rows": 1,
            "num_suffix_rows": 0,
            "depth": 2,
            "embed_dim": 8,
            "num_heads": None,
            "num_parameters": 13 * 8 + 2 * 2 * 8,
        }
    ]
    assert found["embeddings"][0]["keys"][0] == "pos_embed"
    assert {"layer": "blocks.1", "name": "pe_norm"} in found["layer_norms"]
    assert {"layer": "", "name": "norm"} in found["layer_norms"]
    assert isinstance(found["num_parameters"], int)
    assert found["notes"]


def test_the_whole_file_is_read_only_where_its_hash_is_asked_for(run, checkpoint, monkeypatch):
    hashed = []
    monkeypatch.setattr(Checkpoint, "sha256", property(lambda self: hashed.append(1) or "0"))
    run("info", checkpoint, *GRID)
    run("info", checkpoint, *GRID, "--json")
    assert not hashed


def test_the_hash_is_that_of_the_file(run, checkpoint):
    found = run("info", checkpoint, *GRID, "--json", "--sha256").json
    assert found["sha256"] == hashlib.sha256(checkpoint.read_bytes()).hexdigest()


def test_a_saved_extraction_is_a_checkpoint_too(run, checkpoint):
    import pe_inspect as pei
    from pe_inspect.loading import Hints

    found = pei.extract(pei.load(str(checkpoint), hints=Hints(grid_size=(3, 4))))
    found[0].save(checkpoint.parent / "saved.pe.safetensors")
    done = run("info", "saved.pe.safetensors", "--json")
    assert done.json["format"] == "pe"
    assert done.json["embeddings"][0]["grid_size"] == [3, 4]
    assert run("info", "saved.pe.safetensors").out.splitlines()[0] == LINE


def test_an_ordinary_model_needs_no_options(run, save_vit):
    save_vit("plain.safetensors", rows=4, columns=4, lape=False)
    done = run("info", "plain.safetensors")
    assert done.out.startswith("learned_absolute · 4×4 + 1 prefix · D=8 · 2 layers · join=input\n")


def test_two_schemes_are_two_lines_and_two_entries(run, two_schemes):
    done = run("info", two_schemes)
    assert [line.split(" · ")[0] for line in done.out.splitlines()[:2]] == [
        "learned_absolute",
        "relative_bias",
    ]
    assert [one["kind"] for one in run("info", two_schemes, "--json").json["embeddings"]] == [
        "vectors",
        "bias",
    ]
    assert run("info", two_schemes, "--family", "relative_bias").out.startswith("relative_bias")


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        ([], 5, "--grid-size"),
        (["--family", "learned"], 2, "Unknown family 'learned'. Did you mean 'learned_absolute'"),
        ([*GRID, "--state-dict-key", "ema"], 2, "ema"),
    ],
)
def test_what_cannot_be_read_has_its_code(run, checkpoint, options, code, said):
    done = run("info", checkpoint, *options)
    assert done.code == code
    assert said in done.err
    assert done.out == ""
    assert "Traceback" not in done.err


def test_a_file_of_another_kind_is_code_3(run, here):
    (here / "x.pth").write_bytes(b"\xff\xd8\xff\xe0" + bytes(64))
    assert run("info", "x.pth").code == 3


def test_a_file_without_a_position_embedding_is_code_4_and_points_to_families(run, here):
    np.savez(here / "x.npz", w=np.ones((3, 5), np.float32))
    done = run("info", "x.npz")
    assert done.code == 4
    assert "`pe-inspect families`" in done.err


def test_families_lists_what_can_be_found(run):
    done = run("families")
    assert done.code == 0
    assert "learned_absolute\n" in done.out
    listed = run("families", "--json").json["families"]
    assert {"name", "looks_for", "example"} == set(listed[0])
    assert run("families", "--quiet").out.split() == [each["name"] for each in listed]


def test_a_rotation_that_all_heads_share_has_no_number_of_heads():
    angles = PositionEmbedding(
        family="rotary",
        kind="phases",
        join="layer",
        tables=(LayerPE("blocks.0", np.zeros((1, 12, 4), np.float32), (3, 4)),),
    )
    assert as_json(angles)["num_heads"] is None
    assert angles.headline == "rotary · 3×4 · all heads × 4 angles · 1 layer · join=layer"


@pytest.fixture
def without_a_grid(tmp_path):
    """A file that is called as a model of timm, with frequencies of rotations and no grid."""
    random = np.random.default_rng(0)
    shapes = {
        "cls_token": (1, 1, 8),
        "patch_embed.proj.weight": (8, 3, 4, 4),
        "rope.freqs": (2, 2, 2, 2),
        **{f"blocks.{i}.norm1.weight": (8,) for i in range(2)},
        **{f"blocks.{i}.attn.qkv.weight": (24, 8) for i in range(2)},
        **{f"blocks.{i}.attn.proj.weight": (8, 8) for i in range(2)},
    }
    path = tmp_path / "vit_small_patch16_rope_mixed_224.safetensors"
    save_file({k: random.normal(size=s).astype(np.float32) for k, s in shapes.items()}, path)
    return path


def test_what_has_no_grid_in_its_file_is_described(run, without_a_grid):
    done = run("info", without_a_grid, "--json")

    (found,) = done.json["embeddings"]
    assert (done.code, found["kind"], found["grid_size"], found["num_heads"]) == (
        0,
        "phases",
        None,
        2,
    )
    assert found["depth"] == 2
    said = " ".join(done.json["notes"])
    assert "rope.freqs says no grid" in said
    assert "--arch timm:vit_small_patch16_rope_mixed_224 takes it for that" in said


def test_a_question_that_needs_the_grid_asks_for_it(run, without_a_grid):
    done = run("similarity", without_a_grid, "--no-figures")

    assert done.code == 5
    assert "Pass --grid-size HxW" in done.err
