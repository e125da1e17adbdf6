"""How many pixels a step of the grid is: never a kernel that overlaps, or that a stem feeds."""

from __future__ import annotations

from dataclasses import replace

import pytest
import timm
import torch
import transformers as hf

import pe_inspect as pei
from pe_inspect.errors import AmbiguousCheckpoint
from pe_inspect.families.trunk import Trunk
from pe_inspect.loading.checkpoint import Checkpoint, Hints

AST = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
       "intermediate_size": 16, "num_mel_bins": 64, "max_length": 128}  # fmt: skip


def of_timm(name, **hints):
    model = timm.create_model(name)
    return model, Checkpoint.from_state_dict(model.state_dict(), hints=Hints(**hints))


@pytest.mark.parametrize(
    ("name", "grid"),
    [
        ("volo_d1_224", lambda model: model.pos_embed.shape[1:3]),
        ("volo_d5_224", lambda model: model.pos_embed.shape[1:3]),
        ("hiera_tiny_224", lambda model: model.tokens_spatial_shape),
        ("mvitv2_tiny", lambda model: model.patch_embed(torch.rand(1, 3, 224, 224))[1]),
        ("vit_tiny_patch16_224", lambda model: model.patch_embed.grid_size),
    ],
)  # fmt: skip
def test_a_step_is_the_image_divided_by_timms_own_grid(name, grid):
    model, checkpoint = of_timm(name)

    rows, columns = grid(model)

    assert Trunk(checkpoint).patch_size == (224 // rows, 224 // columns)


@pytest.mark.parametrize("name", ["vit_tiny_r_s16_p8_224", "pit_ti_224", "botnet26t_256"])
def test_behind_a_stem_the_file_does_not_tell_and_the_flag_does(name):
    _, checkpoint = of_timm(name)
    _, told = of_timm(name, patch_size=(16, 8))

    assert Trunk(checkpoint).patch_size is None
    assert Trunk(told).patch_size == (16, 8)


def test_a_kernel_of_one_pixel_behind_a_backbone_is_no_patch():
    state = {"embedding/kernel": torch.empty(1, 1, 1024, 768)}

    assert Trunk(Checkpoint.from_state_dict(state)).patch_size is None


@pytest.mark.parametrize("side", [1, 3, 7])
def test_a_plain_vits_patch_may_have_odd_sides(side):
    model = timm.create_model("vit_tiny_patch16_224", depth=1, img_size=28, patch_size=side)

    assert Trunk(Checkpoint.from_state_dict(model.state_dict())).patch_size == (side, side)


def test_the_kernel_of_a_vitdet_is_found_without_its_config():
    config = hf.VitDetConfig(hidden_size=16, num_hidden_layers=1, num_attention_heads=2)

    assert Trunk(Checkpoint.from_state_dict(hf.VitDetModel(config).state_dict())).patch_size == (
        16,
        16,
    )


@pytest.mark.parametrize("stride", [[4, 4], [3, 2]])
def test_the_stride_of_a_hiera_is_its_configs(stride, tmp_path):
    config = hf.HieraConfig(
        embed_dim=8, image_size=[64, 96], patch_stride=stride, num_heads=[1, 2], depths=[1, 1],
        num_query_pool=1,
    )  # fmt: skip
    hf.HieraModel(config).save_pretrained(tmp_path)

    assert Trunk(pei.load(tmp_path)).patch_size == tuple(stride)


@pytest.mark.parametrize("is_folder", [True, False])
def test_the_patches_of_a_spectrogram_overlap_by_an_unknown_step(is_folder, tmp_path):
    model = hf.ASTModel(hf.ASTConfig(**AST))
    model.save_pretrained(tmp_path)
    path = tmp_path if is_folder else tmp_path / "model.safetensors"
    known = {} if is_folder else {"grid_size": (5, 12)}

    checkpoint = pei.load(path, **known)
    (pe,) = pei.extract(checkpoint)

    assert (pe.grid_size, pe.patch_size) == ((5, 12), None)
    with pytest.raises(pei.UsageError, match="--grid HxW"):
        pei.interpolate(pe, res=(64, 256))
    with pytest.raises(AmbiguousCheckpoint, match=r"overlap on a spectrogram.*--grid HxW"):
        pei.extract(replace(checkpoint, hints=Hints(patch_size=(16, 16)).over(checkpoint.hints)))


def test_a_spectrogram_whose_patches_do_not_overlap_is_cut_by_its_kernel(tmp_path):
    config = hf.ASTConfig(**AST, frequency_stride=16, time_stride=16)
    hf.ASTModel(config).save_pretrained(tmp_path)

    assert Trunk(pei.load(tmp_path)).patch_size == (16, 16)
