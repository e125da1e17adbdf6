"""Folders: the usual layouts, shards, and what is said where one does not fit."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from pe_inspect.errors import AmbiguousCheckpoint, UnreadableCheckpoint
from pe_inspect.loading import load


def _halves(vit):
    keys = list(vit)
    return {k: vit[k] for k in keys[::2]}, {k: vit[k] for k in keys[1::2]}


def _sharded(folder, vit, kind="safetensors"):
    stem = "model" if kind == "safetensors" else "pytorch_model"
    weight_map = {}
    for i, half in enumerate(_halves(vit), start=1):
        name = f"{stem}-0000{i}-of-00002.{kind}"
        (save_file if kind == "safetensors" else torch.save)(half, folder / name)
        weight_map |= dict.fromkeys(half, name)
    index = folder / f"{stem}.{kind}.index.json"
    index.write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": weight_map}))
    return index


def _pth(vit, path):
    torch.save(vit, path)


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("model.safetensors", save_file),
        ("pytorch_model.bin", _pth),
        ("open_clip_model.safetensors", save_file),
        ("weights.pth", _pth),
    ],
)
def test_the_weights_of_a_folder_are_found(name, write, vit, tmp_path, equal):
    write(vit, tmp_path / name)
    (tmp_path / "README.md").write_text("# A model")
    ckpt = load(tmp_path)
    assert ckpt.format == "huggingface"
    assert ckpt.path == tmp_path / name
    assert ckpt.sha256 == hashlib.sha256((tmp_path / name).read_bytes()).hexdigest()
    assert all(equal(ckpt.tensor(key), value) for key, value in vit.items())
    assert f"{name} of the folder was read" in ckpt.notes


@pytest.mark.parametrize("kind", ["safetensors", "bin"])
def test_shards_are_one_checkpoint(kind, vit, tmp_path, equal):
    index = _sharded(tmp_path, vit, kind)
    ckpt = load(tmp_path)
    assert set(ckpt.keys) == set(vit)
    assert all(equal(ckpt.tensor(key), value) for key, value in vit.items())
    assert ckpt.path == index
    assert f"sha256 is that of {index.name}" in ckpt.notes
    assert "2 shards were read" in ckpt.notes
    assert ckpt.num_parameters == sum(value.numel() for value in vit.values())


def test_a_missing_shard_is_named(vit, tmp_path):
    _sharded(tmp_path, vit)
    (tmp_path / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(UnreadableCheckpoint, match=r"'model-00002-of-00002.safetensors', which is"):
        load(tmp_path)


@pytest.mark.parametrize("name", ["../secret.safetensors", "/etc/passwd", "sub/x.safetensors", ""])
def test_a_shard_lies_in_the_folder_and_nowhere_else(name, vit, tmp_path):
    inner = tmp_path / "inner"
    (inner / "sub").mkdir(parents=True)
    save_file(vit, tmp_path / "secret.safetensors")
    save_file(vit, inner / "sub" / "x.safetensors")
    index = {"weight_map": {"pos_embed": name}}
    (inner / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(UnreadableCheckpoint, match="which is not in"):
        load(inner)


def test_an_index_that_lies_is_caught(vit, tmp_path):
    index = _sharded(tmp_path, vit)
    content = json.loads(index.read_text())
    content["weight_map"]["gone"] = "model-00001-of-00002.safetensors"
    index.write_text(json.dumps(content))
    with pytest.raises(UnreadableCheckpoint, match="holds gone; it does not"):
        load(tmp_path)
    index.write_text("{}")
    with pytest.raises(UnreadableCheckpoint, match="is an index without a weight_map"):
        load(tmp_path)
    index.write_text("{")
    with pytest.raises(UnreadableCheckpoint, match="is no JSON"):
        load(tmp_path)


def test_a_folder_without_weights_says_what_was_expected(tmp_path):
    with pytest.raises(
        UnreadableCheckpoint, match=r"a folder without weights. Expected model.safe"
    ):
        load(tmp_path)


def test_of_several_weight_files_the_user_chooses(vit, tmp_path):
    for name in ("a.pth", "b.pth"):
        torch.save(vit, tmp_path / name)
    with pytest.raises(AmbiguousCheckpoint, match=r"2 weight files \(a.pth, b.pth\).*Give the one"):
        load(tmp_path)


@pytest.mark.parametrize("text", ["[1]", "{", "\x00"])
def test_a_broken_config_is_named(text, vit, tmp_path):
    save_file(vit, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(UnreadableCheckpoint, match=r"config.json is (no )?JSON"):
        load(tmp_path)


def test_a_folder_of_our_trainer_is_not_confused_by_its_snapshots(vit, tmp_path):
    save_file(vit, tmp_path / "model.safetensors")
    (tmp_path / "evolution").mkdir()
    save_file(vit, tmp_path / "evolution" / "epoch_003.pe.safetensors")
    (tmp_path / "metrics.csv").write_text("epoch,loss\n")
    (tmp_path / "config.json").write_text('{"recipe": "digits-lape", "model": {"num_heads": 2}}')
    ckpt = load(tmp_path)
    assert ckpt.metadata["config"]["recipe"] == "digits-lape"
    assert np.array_equal(ckpt.tensor("pos_embed"), vit["pos_embed"].numpy())
