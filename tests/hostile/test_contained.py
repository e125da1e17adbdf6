"""What a file says leads nowhere: out of no folder, off no hub, into no spreadsheet's formulas."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from pandas import DataFrame
from safetensors.torch import save_file

import pe_inspect as pei
from pe_inspect.baking.writing import left_out
from pe_inspect.bounded import is_file_name
from pe_inspect.cells import as_cell
from pe_inspect.commands.shell.question_runner import write_table
from pe_inspect.errors import OutputError, UsageError
from pe_inspect.files import OutputFolder
from pe_inspect.kinds.position_embedding import LayerNormParams, LayerPE, PositionEmbedding
from pe_inspect.loading.remote.names import open_named
from pe_inspect.loading.transfer import Reporter
from pe_inspect.page.content import Table
from pe_inspect.training.recipe import Recipe

AWAY = ["../../escaped", "/tmp/escaped", "..", ".", "", "a/b", "a\\b", "a\0b", "a\nb", "x" * 300]


@pytest.mark.parametrize("name", AWAY)
def test_a_recipe_whose_name_is_no_file_name_is_refused(name):
    with pytest.raises(UsageError, match="one part of a path"):
        Recipe.from_dict({"name": name, "data": "digits"})


@pytest.mark.parametrize("name", AWAY)
def test_an_output_folder_writes_only_into_itself(name, tmp_path):
    with pytest.raises(OutputError, match="is no file name"):
        OutputFolder(tmp_path / "out").write(name, lambda file: file.write(b"x"))
    assert not (tmp_path / "out").exists()


def test_ordinary_names_are_file_names():
    assert all(map(is_file_name, ["model.safetensors", "vit-lape", "Größe 2", "..a", ".hidden"]))


def _folder(place):
    place.mkdir()
    rng = torch.Generator().manual_seed(1)
    save_file({
        "pos_embed": torch.randn(1, 13, 8, generator=rng),
        "cls_token": torch.randn(1, 1, 8, generator=rng),
        "patch_embed.proj.weight": torch.randn(8, 3, 4, 4, generator=rng),
        "blocks.0.norm1.weight": torch.ones(8),
        "blocks.0.norm1.bias": torch.zeros(8),
    }, place / "model.safetensors")  # fmt: skip
    (place / "LICENSE").write_text("ours")
    return place


def test_a_written_folder_leaves_out_what_links_lead_to_and_names_it(tmp_path):
    (tmp_path / "secret").write_text("not yours")
    folder = _folder(tmp_path / "vit")
    (folder / "README.md").symlink_to("../secret")
    (folder / "NOTICE").symlink_to("LICENSE")
    done = pei.bake(pei.load(folder, grid_size=(3, 4)), tmp_path / "new", grid=(4, 6))
    there = {path.name: path.read_bytes() for path in (tmp_path / "new").iterdir()}
    assert "README.md" not in there
    assert there["NOTICE"] == b"ours"
    assert any("left out" in note and "README.md" in note for note in done.notes)


def test_the_hubs_cache_is_a_folder_of_links_that_stay_in_it(tmp_path):
    (tmp_path / "blobs").mkdir()
    (tmp_path / "blobs" / "abc").write_text("{}")
    (tmp_path / "other").write_text("{}")
    snapshot = tmp_path / "snapshots" / "commit"
    snapshot.mkdir(parents=True)
    (snapshot / "vocab.txt").symlink_to("../../blobs/abc")
    (snapshot / "out.txt").symlink_to("../../other")
    assert left_out(snapshot, ()) == ["out.txt"]


@pytest.mark.parametrize(
    "name", ["a/b@/bin/ls", "a/b@../../x", "a/b@x/../y", "../b", "a/..", "a/b@"]
)
def test_a_revision_or_repository_that_leads_elsewhere_is_no_name(name, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(UsageError, match="names no repository"):
        open_named(f"hf-hub:{name}", Reporter())


FORMULAS = ["=cmd|' /C calc'!A0", "+1+1", "-2+3", "@SUM(A1)", "\t=1", "\r=1"]


@pytest.mark.parametrize("text", FORMULAS)
def test_a_formula_is_text_in_every_table_that_is_written(text):
    assert as_cell(text) == f"'{text}"
    page = Table("c", ("layer", text), ((text, 1.0),)).csv
    frame = io.BytesIO()
    write_table(type("R", (), {"to_frame": lambda _: DataFrame({"layer": [text]})})(), frame)
    layer_norms = io.BytesIO()
    pei.layernorm(_with_norm(text)).to_csv(layer_norms)
    for content in (page, frame.getvalue().decode(), layer_norms.getvalue().decode()):
        assert f"'{text}" in content
        assert f"\n{text}" not in content
        assert f",{text}" not in content


@pytest.mark.parametrize("value", ["-0.5", "+1e-3", "-inf", "blocks.0", "", 3, -1.5, None])
def test_numbers_and_names_are_cells_as_they_are(value):
    assert as_cell(value) == value


def _with_norm(layer):
    table = LayerPE("input", np.ones((12, 8), np.float32), (3, 4))
    norm = LayerNormParams(layer, "norm1", np.ones(8), np.zeros(8), 1e-6)
    return PositionEmbedding("learned_absolute", "vectors", "input", (table,), norms=(norm,))
