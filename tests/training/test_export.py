from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from pe_inspect.errors import OutputError, UnreadableCheckpoint
from pe_inspect.families import extract
from pe_inspect.loading import load
from pe_inspect.training import Recipe, export, train


@pytest.fixture
def folder(tiny: Recipe, pictures: Path, tmp_path: Path) -> Path:
    recipe = tiny.with_overrides(["epochs=1", "stored_as=float16"])
    return train(recipe, out=tmp_path / "run", root=pictures, device="cpu")


def test_the_export_has_the_layout_of_the_lape_scripts(folder: Path, tmp_path: Path) -> None:
    path = export(folder, tmp_path / "tiny.pth")
    with torch.serialization.safe_globals([argparse.Namespace]):
        content = torch.load(path, weights_only=True)
    assert set(content) == {"model", "args"}
    for key, stored in load_file(folder / "model.safetensors").items():
        assert torch.equal(content["model"][key], stored.float())
    said = content["args"]
    assert (said.join_type, said.pe, said.model) == ("LaPE", "learnable", "tiny")
    assert (said.input_size, said.patch_size, said.num_heads) == ((6, 8), 2, 2)


def test_our_own_loader_reads_the_export_back(folder: Path, tmp_path: Path) -> None:
    exported, original = (
        extract(load(str(path)))[0] for path in (export(folder, tmp_path / "tiny.pth"), folder)
    )
    assert (exported.join, exported.grid_size) == (original.join, original.grid_size)
    assert exported.grid_size == (3, 4)
    assert exported.num_prefix_rows == 1
    assert exported.tables[0].values.tolist() == original.tables[0].values.tolist()


def test_a_folder_that_was_not_trained_here_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UnreadableCheckpoint, match="is not a folder that pe-inspect trained"):
        export(tmp_path, tmp_path / "x.pth")
    (folder / "model.safetensors").write_bytes(b"short")
    with pytest.raises(UnreadableCheckpoint, match=r"model\.safetensors cannot be read"):
        export(folder, tmp_path / "x.pth")
    assert not (tmp_path / "x.pth").exists()


def test_only_an_earlier_export_is_replaced(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "x.pth"
    path.write_bytes(b"theirs")
    with pytest.raises(OutputError, match=r"x\.pth exists and was not made by pe-inspect"):
        export(folder, path)
    assert path.read_bytes() == b"theirs"
    content = export(folder, path, force=True).read_bytes()
    assert export(folder, path).read_bytes() == content


@pytest.mark.parametrize(
    ("scheme", "join", "pe", "join_type"),
    [
        ("learned", "unshare", "learnable", "unshare"),
        ("learned", "share", "learnable", "share"),
        ("sincos2d", "input", "2D_sin", "basic"),
        ("rel_bias_2d", "lape", "2D_RPE", "LaPE"),
        ("rope_axial", "layer", "rope_axial", "layer"),
        ("none", "none", "none", "none"),
    ],
)
def test_every_scheme_and_join_has_a_word(
    folder: Path, tmp_path: Path, scheme: str, join: str, pe: str, join_type: str
) -> None:
    config = json.loads((folder / "config.json").read_text())
    config["model"] |= {"scheme": scheme, "join": join}
    (folder / "config.json").write_text(json.dumps(config))
    with torch.serialization.safe_globals([argparse.Namespace]):
        said = torch.load(export(folder, tmp_path / "x.pth"), weights_only=True)["args"]
    assert (said.pe, said.join_type) == (pe, join_type)
