"""What `bake` does with a file besides its main table: copies, buffers, types, bad requests."""

from __future__ import annotations

import argparse
import json
import re
import resource
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from safetensors.torch import load_file, save_file

import pe_inspect as pei
from pe_inspect.baking.bakers import bakers
from pe_inspect.baking.renormalised import renormalised
from pe_inspect.baking.windows import shifted_mask
from pe_inspect.families import families
from pe_inspect.resampling import target_grid as _target_grid

ROUND = st.integers(-12, 12).map(lambda quarter: quarter / 4)
GRID = {"grid_size": (3, 4)}


def vit(grid=(3, 4), width=8, prefix=1, dtype=torch.float32):
    """A few tensors under timm's names; patches of 4×4 pixels."""
    rng = torch.Generator().manual_seed(7)

    def make(*shape):
        return torch.randn(*shape, generator=rng).to(dtype)

    return {
        "cls_token": make(1, 1, width),
        "pos_embed": make(1, prefix + grid[0] * grid[1], width),
        "patch_embed.proj.weight": make(width, 3, 4, 4),
        **{f"blocks.{i}.norm1.{p}": make(width) for i in range(2) for p in ("weight", "bias")},
        "blocks.0.attn.qkv.weight": make(3 * width, width),
        "norm.weight": make(width),
    }


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "model.safetensors"
    save_file(vit(), path)
    return path


def load(path, **known):
    return pei.load(path, **{**GRID, **known})


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_a_table_keeps_its_type_and_is_resampled_before_it_is_rounded(dtype, tmp_path):
    state = vit(dtype=dtype)
    path = tmp_path / "a.safetensors"
    save_file(state, path)
    pei.bake(load(path), tmp_path / "b.safetensors", grid=(5, 7), method="bilinear")
    found = load_file(tmp_path / "b.safetensors")["pos_embed"]
    real = torch.float64 if dtype is torch.float64 else torch.float32
    table = state["pos_embed"].to(real)
    patches = table[:, 1:].reshape(1, 3, 4, 8).permute(0, 3, 1, 2)
    wide = torch.nn.functional.interpolate(patches, size=(5, 7), mode="bilinear")
    wanted = torch.cat([table[:, :1], wide.flatten(2).transpose(1, 2)], dim=1)
    assert found.dtype == dtype
    tolerance = {torch.float64: 1e-12, torch.float16: 2e-3, torch.bfloat16: 2e-2}[dtype]
    torch.testing.assert_close(found.to(real), wanted, atol=tolerance, rtol=tolerance)


def test_all_other_bytes_are_the_same(source, tmp_path):
    pei.bake(load(source), tmp_path / "b.safetensors", res=(20, 28))
    before, after = load_file(source), load_file(tmp_path / "b.safetensors")
    assert after["pos_embed"].shape == (1, 36, 8)
    for key, value in before.items():
        if key != "pos_embed":
            assert after[key].numpy().tobytes() == value.numpy().tobytes()


def test_averages_of_the_model_are_treated_alike_and_momenta_are_spoken_of(tmp_path):
    state, average = vit(), {f"module.{k}": 2 * v for k, v in vit().items()}
    momentum = torch.zeros_like(state["pos_embed"])
    file = {
        "model": state, "model_ema": average, "args": argparse.Namespace(input_size=224),
        "optimizer": {"state": {0: {"exp_avg": momentum}}, "param_groups": []},
    }  # fmt: skip
    torch.save(file, tmp_path / "a.pth")
    made = pei.bake(load(tmp_path / "a.pth"), tmp_path / "b.pth", grid=(5, 7))
    found = torch.load(tmp_path / "b.pth", weights_only=False)
    torch.testing.assert_close(
        found["model_ema"]["module.pos_embed"], 2 * found["model"]["pos_embed"]
    )
    assert found["optimizer"]["state"][0]["exp_avg"].shape == momentum.shape
    assert found["args"].input_size == 224
    notes = " ".join(made.notes)
    assert "model_ema.module is the same model, treated alike" in notes
    assert "optimizer was kept as it is, with averages of the old tables' shape" in notes


def test_a_text_tower_of_the_same_width_is_no_copy(tmp_path):
    transformers = pytest.importorskip("transformers")
    layers = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 2}
    shape = {**layers, "num_attention_heads": 2}
    config = transformers.SiglipConfig(
        vision_config={**shape, "image_size": 32, "patch_size": 8},
        text_config={**shape, "max_position_embeddings": 16, "vocab_size": 30},
    )
    before = transformers.SiglipModel(config)
    before.save_pretrained(tmp_path / "old")
    pei.bake(pei.load(tmp_path / "old"), tmp_path / "new", grid=(6, 6))
    after = transformers.SiglipModel.from_pretrained(tmp_path / "new")
    text = "text_model.embeddings.position_embedding.weight"
    assert torch.equal(after.state_dict()[text], before.state_dict()[text])
    assert after.vision_model.embeddings.position_embedding.weight.shape == (36, 16)


def swin(path, window):
    """Microsoft's tensors of one shifted block on an image of 4×4 windows."""
    rng, (rows, columns) = np.random.default_rng(0), window
    offsets = (2 * rows - 1) * (2 * columns - 1)
    y, x = (axis.ravel() for axis in np.indices(window))
    index = (y[:, None] - y + rows - 1) * (2 * columns - 1) + x[:, None] - x + columns - 1
    stem = "layers.0.blocks.0."
    save_file(
        {
            f"{stem}attn.relative_position_bias_table": torch.tensor(
                rng.normal(size=(offsets, 3)), dtype=torch.float32
            ),
            f"{stem}attn.relative_position_index": torch.tensor(index),
            f"{stem}attn_mask": torch.tensor(shifted_mask((4, 4), window)),
            f"{stem}norm1.weight": torch.ones(8),
        },
        path,
    )


def test_swins_indices_and_masks_are_those_of_the_new_window(tmp_path):
    swin(tmp_path / "a.safetensors", (4, 4))
    swin(tmp_path / "wanted.safetensors", (6, 6))
    made = pei.bake(pei.load(tmp_path / "a.safetensors"), tmp_path / "b.safetensors", grid=(6, 6))
    found, wanted = (load_file(tmp_path / f"{name}.safetensors") for name in ("b", "wanted"))
    for name in ("attn.relative_position_index", "attn_mask"):
        key = f"layers.0.blocks.0.{name}"
        assert torch.equal(found[key], wanted[key])
        assert key in made.changed


def test_the_mask_is_that_of_timms_swin():
    from timm.models.swin_transformer import SwinTransformerBlock

    block = SwinTransformerBlock(8, (16, 24), num_heads=1, window_size=(4, 6), shift_size=2)
    block.shift_size = (2, 3)
    theirs = block.get_attn_mask().numpy()
    np.testing.assert_array_equal(shifted_mask((4, 4), (4, 6)), theirs)


@pytest.mark.parametrize("name", sorted(families))
def test_every_family_has_a_baker(name):
    assert name in bakers


@settings(max_examples=30)
@given(
    source=arrays(np.float64, (3, 4, 5), elements=ROUND),
    made=arrays(np.float64, (5, 7, 5), elements=ROUND),
)
def test_renormalised_rows_keep_direction_and_rank_and_have_the_sources_lengths(source, made):
    found = renormalised(made, source)
    lengths, wanted = (np.linalg.norm(x, axis=-1) for x in (found, source))
    zero = np.linalg.norm(made, axis=-1) == 0
    assert (lengths[~zero] >= wanted.min() - 1e-9).all()
    assert (lengths[~zero] <= wanted.max() + 1e-9).all()
    np.testing.assert_array_equal(found[zero], 0)


def test_renormalised_lengths_are_the_sources_quantiles():
    rng = np.random.default_rng(0)
    source, made = rng.normal(size=(3, 4, 8)), 0.5 * rng.normal(size=(3, 4, 8))
    found = renormalised(made, source)
    lengths = [np.sort(np.linalg.norm(x, axis=-1).ravel()) for x in (found, source)]
    np.testing.assert_allclose(*lengths, rtol=1e-12)
    cosines = (
        (found * made).sum(-1) / np.linalg.norm(found, axis=-1) / np.linalg.norm(made, axis=-1)
    )
    np.testing.assert_allclose(cosines, 1, rtol=1e-12)


def test_bilinear_rows_are_short_and_renormalised_ones_are_not(source, tmp_path):
    lengths = []
    for renormalise in (False, True):
        target = tmp_path / f"{renormalise}.safetensors"
        pei.bake(load(source), target, grid=(6, 8), method="bilinear", renormalise=renormalise)
        rows = load_file(target)["pos_embed"][0, 1:]
        lengths.append(rows.norm(dim=-1).mean())
    old = load_file(source)["pos_embed"][0, 1:].norm(dim=-1).mean()
    assert lengths[0] < 0.9 * old
    assert abs(lengths[1] - old) < 0.01 * old


def refused(path, target, said, error=pei.UsageError, **ask):
    with pytest.raises(error, match=re.escape(said)):
        pei.bake(load(path), target, **ask)


def test_bad_requests_are_refused_before_anything_is_written(source, tmp_path):
    target = tmp_path / "b.safetensors"
    refused(source, source, "is the input itself", grid=(5, 7), force=True)
    link = tmp_path / "link.safetensors"
    link.symlink_to(source)
    refused(source, link, "is the input itself", grid=(5, 7), force=True)
    refused(source, tmp_path / "b.pth", "its name ends in .safetensors. Pass --write", grid=(5, 7))
    refused(source, tmp_path, "is a folder; --write takes a file", pei.OutputError, grid=(5, 7))
    refused(source, target, "is smaller than one 4-pixel patch: the smallest is 4", res=3)
    refused(source, target, "the nearest are 12x20 and 16x24.", res=(15, 21))
    refused(
        source,
        target,
        "No target size",
    )
    refused(source, target, "--method rescale is for phases", grid=(5, 7), method="rescale")
    target.write_bytes(b"mine")
    refused(source, target, "exists. Pass --force to replace it", pei.OutputError, grid=(5, 7))
    assert target.read_bytes() == b"mine"
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "b.safetensors", "link.safetensors", "model.safetensors",
    ]  # fmt: skip


def test_an_absurd_size_is_refused_with_the_memory_that_it_would_take(
    source, tmp_path, monkeypatch
):
    monkeypatch.setattr(_target_grid, "available_memory", lambda: 8 << 30)
    said = "A 25000×25000 grid would take"
    refused(source, tmp_path / "b.safetensors", said, res=100_000)
    refused(source, tmp_path / "b.safetensors", "the bound is 4.0 GiB", res=100_000)
    assert not (tmp_path / "b.safetensors").exists()


def test_a_disk_that_fills_half_way_leaves_the_old_file(source, tmp_path):
    target = tmp_path / "b.safetensors"
    target.write_bytes(b"mine")
    checkpoint = load(source)
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, old[1]))
        with pytest.raises(
            pei.OutputError,
            match=r"Cannot write .*b.safetensors: File too large.*"
            "choose another --write",
        ):
            pei.bake(checkpoint, target, grid=(5, 7), force=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
    assert target.read_bytes() == b"mine"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["b.safetensors", "model.safetensors"]


def test_a_disk_that_fills_half_way_leaves_the_old_folder(source, tmp_path):
    folder, target = tmp_path / "old", tmp_path / "new"
    folder.mkdir()
    source.replace(folder / "model.safetensors")
    (folder / "config.json").write_text("{}")
    target.mkdir()
    (target / "mine").write_bytes(b"mine")
    checkpoint, limit = load(folder), resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limit[1]))
        with pytest.raises(pei.OutputError, match=rf"Cannot write {target}: File too large"):
            pei.bake(checkpoint, target, grid=(5, 7), force=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert [path.name for path in target.iterdir()] == ["mine"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new", "old"]


def test_a_folder_that_is_still_to_be_made_does_not_hide_the_input(source, tmp_path):
    before = source.read_bytes()
    refused(source, tmp_path / "gone/../model.safetensors", "is the input itself", grid=(5, 7),
            force=True)  # fmt: skip
    assert source.read_bytes() == before


@pytest.mark.parametrize("spelling", ["sub/../model.safetensors", "here/model.safetensors"])
def test_another_spelling_of_the_input_is_the_input(spelling, source, tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "here").symlink_to(tmp_path)
    refused(source, tmp_path / spelling, "is the input itself", grid=(5, 7), force=True)
    refused(tmp_path / spelling, source, "is the input itself", grid=(5, 7), force=True)


def test_a_state_dict_in_memory_has_no_format():
    from pe_inspect.loading import Checkpoint, Hints

    checkpoint = Checkpoint.from_state_dict(vit(), hints=Hints(grid_size=(3, 4)))
    with pytest.raises(pei.UsageError, match="A state dict in memory has no file to copy"):
        pei.bake(checkpoint, "b.safetensors", grid=(5, 7))


def test_the_same_grid_needs_nothing(source, tmp_path):
    made = pei.bake(load(source), tmp_path / "b.safetensors", grid=(3, 4))
    assert made.path is None
    assert "learned_absolute stays on its 3×4 grid" in made.notes


def test_a_saved_extraction_is_resampled_as_one(source, tmp_path):
    (pe,) = pei.extract(load(source))
    pe.save(tmp_path / "a.pe.safetensors")
    made = pei.bake(
        pei.load(tmp_path / "a.pe.safetensors"), tmp_path / "b.pe.safetensors", grid=(5, 7)
    )
    found = pei.PositionEmbedding.open(made.path)
    np.testing.assert_array_equal(
        found.tables[0].values, pei.interpolate(pe, grid=(5, 7)).embedding().tables[0].values
    )


def test_a_saved_extraction_says_the_new_size_of_its_patches(source, tmp_path):
    (pe,) = pei.extract(load(source))
    pe.save(tmp_path / "a.pe.safetensors")
    ask = {"res": (12, 14), "patch_size": 2}
    made = pei.bake(pei.load(tmp_path / "a.pe.safetensors"), tmp_path / "b.pe.safetensors", **ask)
    found = pei.PositionEmbedding.open(made.path)
    assert (pe.patch_size, found.patch_size, found.grid_size) == ((4, 4), (2, 2), (6, 7))
    assert pei.interpolate(found, res=(12, 14)).grid_size == (6, 7)


def test_our_own_folder_is_rebuilt_at_the_new_size(tmp_path):
    folder = Path(__file__).parents[2] / "checkpoints" / "digits-lape"
    shutil.copytree(folder, tmp_path / "old")
    made = pei.bake(pei.load(tmp_path / "old"), tmp_path / "new", res=(10, 12))
    model = pei.rebuild(pei.load(made.path))
    assert model(torch.zeros(1, 1, 10, 12)).shape == (1, 10)
    names = {path.name for path in made.path.iterdir()}
    assert names == {"config.json", "metrics.csv", "model.safetensors"}
    config = json.loads((made.path / "config.json").read_text())
    assert config["metrics"].keys() == {"epochs", "steps", "seconds"}  # no accuracy
    assert "best" not in config


@pytest.mark.parametrize("inside", ["new", "new/deeper", "../old/new"])
def test_nothing_is_written_into_the_input_folder(inside, tmp_path):
    folder = tmp_path / "old"
    shutil.copytree(Path(__file__).parents[2] / "checkpoints" / "digits-lape", folder)
    before = sorted(folder.rglob("*"))
    with pytest.raises(pei.UsageError, match="lies in the input folder"):
        pei.bake(pei.load(folder), folder / inside, res=(10, 12))
    assert sorted(folder.rglob("*")) == before


def test_a_folder_takes_a_folder(tmp_path):
    folder = Path(__file__).parents[2] / "checkpoints" / "digits-lape"
    with pytest.raises(pei.UsageError, match="is a folder, and so is what is made of it"):
        pei.bake(pei.load(folder), tmp_path / "new.safetensors", res=(10, 12))
