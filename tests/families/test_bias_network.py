"""A bias computed by a small network, on windows that are never square, against timm's modules."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import timm
import torch
from closeness import assert_close
from timm.layers import RelPosMlp
from timm.models.swin_transformer_v2_cr import WindowMultiHeadAttention

from pe_inspect.errors import AmbiguousCheckpoint
from pe_inspect.families import extract, families

TINY_SWIN = {"embed_dim": 12, "depths": (1, 2), "num_heads": (2, 4)}


def swin_v2(window, pretrained=(0, 0), image=(96, 128)):
    """A Swin v2 whose last layers are large enough for a sigmoid to bend."""
    torch.manual_seed(0)
    model = timm.create_model(
        "swinv2_tiny_window8_256",
        img_size=image,
        window_size=window,
        pretrained_window_sizes=(pretrained[0],) * 2,
        **TINY_SWIN,
    ).eval()
    for attention in attentions(model):
        torch.nn.init.normal_(attention.cpb_mlp[2].weight, std=0.5)
    return model


def attentions(model):
    return [module for module in model.modules() if hasattr(module, "cpb_mlp")]


def swin_bias(attention):
    """The bias as timm's forward pass makes it."""
    rows = attention.cpb_mlp(attention.relative_coords_table).view(-1, attention.num_heads)
    tokens = attention.window_size[0] * attention.window_size[1]
    bias = rows[attention.relative_position_index.view(-1)].view(tokens, tokens, -1)
    return (16 * torch.sigmoid(bias.permute(2, 0, 1))).detach().numpy()


def close(ours, theirs):
    """Equal but for rounding, of which the sum over a network's hidden layer has its share."""
    assert_close(ours, theirs, operations=16)


def test_swin_v2_s_bias_on_a_window_that_was_said_is_timm_s(make):
    model = swin_v2((3, 4))

    (pe,) = extract(make.checkpoint(model.state_dict(), grid_size=(3, 4)))

    assert (pe.family, pe.kind, pe.join) == ("bias_network", "function", "layer")
    assert [table.layer for table in pe.tables] == [
        "layers.0.blocks.0",
        "layers.1.blocks.0",
        "layers.1.blocks.1",
    ]
    assert (pe.grid_size, pe.num_prefix_rows, pe.num_heads, pe.is_pairwise) == ((3, 4), 0, 2, True)
    for table, attention in zip(pe.tables, attentions(model), strict=True):
        close(table.values, swin_bias(attention))
    assert "evaluated on a 3×4 window (--grid-size)" in pe.notes
    assert any("no window of pre-training is known" in note for note in pe.notes)


def test_the_parameters_of_the_networks_are_counted(make):
    model = swin_v2((3, 4))

    (pe,) = extract(make.checkpoint(model.state_dict(), grid_size=(3, 4)))

    networks = [attention.cpb_mlp for attention in attentions(model)]
    assert pe.num_parameters == sum(p.numel() for n in networks for p in n.parameters())
    assert pe.keys[:3] == tuple(
        f"layers.0.blocks.0.attn.cpb_mlp.{name}" for name in ("0.weight", "0.bias", "2.weight")
    )


def with_coordinates(model):
    """What Microsoft's files hold beside: the coordinates, which tell window and pre-training."""
    state = dict(model.state_dict())
    for name, module in model.named_modules():
        if hasattr(module, "cpb_mlp"):
            state[f"{name}.relative_coords_table"] = module.relative_coords_table
    return state


@pytest.mark.parametrize("pretrained", [(0, 0), (2, 2), (12, 12)])
def test_persisted_coordinates_tell_the_window_and_that_of_pre_training(make, pretrained):
    model = swin_v2((4, 3), pretrained)

    (pe,) = extract(make.checkpoint(with_coordinates(model)))

    assert pe.grid_size == (4, 3)
    for table, attention in zip(pe.tables, attentions(model), strict=True):
        close(table.values, swin_bias(attention))
    assert "window 4×3 read from relative_coords_table" in pe.notes
    name = f"{pretrained[0]}×{pretrained[1]}" if pretrained[0] else "4×3"
    assert f"offsets divided by those of a {name} window (read from relative_coords_table)" in (
        pe.notes
    )


def test_another_window_is_divided_by_the_persisted_window_of_pre_training(make):
    stored, larger = swin_v2((4, 4), (4, 4)), swin_v2((6, 5), (4, 4), image=(192, 160))

    (pe,) = extract(make.checkpoint(with_coordinates(stored), grid_size=(6, 5)))

    for table, attention in zip(pe.tables, attentions(larger), strict=True):
        close(table.values, swin_bias(attention))


def test_an_architecture_tells_the_window_of_every_stage(make):
    with torch.device("meta"):
        state = timm.create_model("swinv2_base_window12to16_192to256").state_dict()
    state = {key: make.unread(*tensor.shape) for key, tensor in state.items()}

    (pe,) = extract(make.checkpoint(state, arch="timm:swinv2_base_window12to16_192to256"))

    assert [table.grid_size for table in pe.tables] == [(16, 16)] * 22 + [(8, 8)] * 2
    assert any(note.startswith("offsets divided by those of a 12×12 window") for note in pe.notes)


def test_a_large_bias_is_not_expanded_before_it_is_asked_for(make):
    with torch.device("meta"):
        state = timm.create_model("swinv2_base_window12to24_192to384").state_dict()
    state = {key: make.unread(*tensor.shape) for key, tensor in state.items()}

    (pe,) = extract(make.checkpoint(state, grid_size=(24, 24)))

    assert pe.tables[0].shape == (4, 576, 576)
    assert pe.tables[0].held.table.shape == (4, 47 * 47 + 1)


def test_torchvision_s_swin_v2_shows_its_window(make):
    from torchvision.models.swin_transformer import (
        PatchMergingV2,
        SwinTransformer,
        SwinTransformerBlockV2,
    )

    torch.manual_seed(0)
    model = SwinTransformer(
        [4, 4], 12, [1, 1], [2, 4], [4, 3],
        block=SwinTransformerBlockV2, downsample_layer=PatchMergingV2,
    ).eval()  # fmt: skip

    (pe,) = extract(make.checkpoint(model.state_dict()))

    assert [table.name for table in pe.tables] == ["layers.0.blocks.0", "layers.1.blocks.0"]
    for table, features in zip(pe.tables, (model.features[1], model.features[3]), strict=True):
        expected = features[0].attn.get_relative_position_bias()[0].detach().numpy()
        close(table.values, expected)


def test_transformers_swin_v2_takes_its_window_from_config_json(make):
    from transformers import Swinv2Config, Swinv2Model

    torch.manual_seed(0)
    config = Swinv2Config(
        image_size=64, patch_size=4, embed_dim=12, depths=[1, 1], num_heads=[2, 4], window_size=16,
        pretrained_window_sizes=[6, 6],
    )  # fmt: skip
    model = Swinv2Model(config).eval()
    checkpoint = replace(
        make.checkpoint(model.state_dict(), img_size=(64, 64), patch_size=(4, 4)),
        metadata={"config": config.to_dict()},
    )

    (pe,) = extract(checkpoint)

    assert [table.grid_size for table in pe.tables] == [(16, 16), (8, 8)]
    for table, stage in zip(pe.tables, model.encoder.layers, strict=True):
        own = next(m for m in stage.modules() if hasattr(m, "continuous_position_bias_mlp"))
        rows = own.continuous_position_bias_mlp(own.relative_coords_table)
        rows = rows.view(-1, own.num_attention_heads)[own.relative_position_index.view(-1)]
        tokens = own.window_size[0] * own.window_size[1]
        bias = 16 * torch.sigmoid(rows.view(tokens, tokens, -1).permute(2, 0, 1))
        close(table.values, bias.detach().numpy())
    assert "window 16×16 from config.json" in pe.notes


def test_swin_v2_without_a_window_is_described_and_the_known_ones_are_listed(make):
    message = (
        "x.pth says no window for layers.0.blocks.0: its bias is computed for any. Swin v2 comes "
        "with 8×8, 12×12 and 16×16, and with 16×16 and 24×24 that were pre-trained on 12×12. "
        "Pass --arch timm:NAME, or --grid-size HxW for the window."
    )
    (pe,) = extract(make.checkpoint(swin_v2((3, 4)).state_dict()))
    assert (pe.kind, pe.grid_size) == ("function", None)
    assert message in pe.notes
    with pytest.raises(AmbiguousCheckpoint, match="Pass --grid-size HxW"):
        pe.require_flat_grid("similarity")


@pytest.mark.parametrize("prefix", [0, 1])
def test_relposmlp_s_bias_is_timm_s_and_prefix_tokens_get_none(make, prefix):
    torch.manual_seed(0)
    name = "vit_relpos_base_patch16_clsgap_224" if prefix else "vit_relpos_small_patch16_224"
    model = timm.create_model(name, img_size=(48, 64), embed_dim=32, depth=2, num_heads=2).eval()

    (pe,) = extract(make.checkpoint(model.state_dict(), grid_size=(3, 4)))

    assert (pe.num_prefix_tokens, pe.num_prefix_rows) == (prefix, prefix)
    for table, block in zip(pe.tables, model.blocks, strict=True):
        close(table.values, block.attn.rel_pos.get_bias()[0].detach().numpy())
    assert np.all(pe.tables[0].values[:, :prefix] == 0)
    assert np.all(pe.tables[0].values[:, :, :prefix] == 0)


def test_a_shared_network_is_one_for_all_blocks_and_counted_once(make):
    torch.manual_seed(0)
    model = timm.create_model(
        "vit_srelpos_small_patch16_224", img_size=(48, 64), embed_dim=32, depth=3, num_heads=2
    ).eval()

    (pe,) = extract(make.checkpoint(model.state_dict(), img_size=(48, 64)))

    assert [table.layer for table in pe.tables] == ["blocks.0", "blocks.1", "blocks.2"]
    close(pe.tables[2].values, model.shared_rel_pos.get_bias()[0].detach().numpy())
    assert pe.num_parameters == sum(p.numel() for p in model.shared_rel_pos.parameters())
    assert "one network, shared by all 3 blocks" in pe.notes
    assert any(note.startswith("window 3×4 from img_size") for note in pe.notes)


@pytest.mark.parametrize("mode", ["swin", "cr"])
def test_both_modes_are_told_by_the_bias_of_the_last_layer(make, mode):
    torch.manual_seed(0)
    module = RelPosMlp((5, 2), num_heads=3, hidden_dim=16, mode=mode).eval()
    torch.nn.init.normal_(module.mlp.fc2.weight)
    state = {f"blocks.0.attn.rel_pos.{k}": v for k, v in module.state_dict().items()}

    (pe,) = extract(make.checkpoint(make.deit(depth=1) | state, grid_size=(5, 2)))

    close(pe.tables[0].patches, module.get_bias()[0].detach().numpy())


def test_swin_v2_cr_s_meta_network_is_timm_s(make):
    torch.manual_seed(0)
    module = WindowMultiHeadAttention(12, 3, (2, 5)).eval()
    state = {f"stages.0.blocks.0.attn.{k}": v for k, v in module.state_dict().items()}

    (pe,) = extract(make.checkpoint(state, grid_size=(2, 5)))

    close(pe.tables[0].values, module._relative_positional_encodings()[0].detach().numpy())


def test_maxvit_has_a_network_for_blocks_and_one_for_grids(make):
    model = timm.create_model("maxvit_rmlp_pico_rw_256").eval()

    (pe,) = extract(make.checkpoint(model.state_dict(), arch="timm:maxvit_rmlp_pico_rw_256"))

    assert [table.name for table in pe.tables[:2]] == [
        "stages.0.blocks.0.attn_block",
        "stages.0.blocks.0.attn_grid",
    ]
    own = model.stages[3].blocks[-1].attn_grid.attn.rel_pos
    close(pe.tables[-1].values, own.get_bias()[0].detach().numpy())


def test_a_network_of_one_layer_is_half_a_file(make):
    state = swin_v2((3, 4)).state_dict()
    del state["layers.0.blocks.0.attn.cpb_mlp.2.weight"]

    with pytest.raises(AmbiguousCheckpoint, match="the network needs both of its layers"):
        extract(make.checkpoint(state, grid_size=(3, 4)))


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("0.weight", (512, 3)),
        ("0.weight", (512,)),
        ("0.bias", (511,)),
        ("0.bias", (1,)),
        ("2.weight", (2, 511)),
        ("2.weight", (512,)),
        ("2.bias", (3,)),
    ],
)
def test_layers_that_do_not_fit_each_other_are_named_with_their_shapes(make, name, shape):
    at = "layers.0.blocks.0.attn.cpb_mlp"
    state = swin_v2((3, 4)).state_dict() | {f"{at}.{name}": make.rand(*shape)}
    names = ["0.weight", "0.bias", "2.weight", *(["2.bias"] if name == "2.bias" else [])]

    with pytest.raises(AmbiguousCheckpoint, match="They act together, and their shapes") as caught:
        extract(make.checkpoint(state, grid_size=(3, 4)))

    held = ", ".join(f"{at}.{each} {tuple(state[f'{at}.{each}'].shape)}" for each in names)
    assert f"x.pth holds {held}." in str(caught.value)


def test_an_architecture_of_other_shapes_is_refused(make):
    with pytest.raises(AmbiguousCheckpoint, match="Name the architecture that the file is of"):
        extract(make.checkpoint(swin_v2((3, 4)).state_dict(), arch="timm:swinv2_tiny_window8_256"))


def test_non_finite_weights_are_noted(make):
    state = swin_v2((3, 4)).state_dict()
    state["layers.0.blocks.0.attn.cpb_mlp.2.weight"][0, 0] = float("nan")

    (pe,) = extract(make.checkpoint(state, grid_size=(3, 4)))

    assert "layers.0.blocks.0.attn.cpb_mlp.2.weight holds 1 non-finite value" in pe.notes


def test_it_is_found_by_name_alone():
    assert "cpb_mlp" in families["bias_network"].looks_for


def test_swin_v2_s_network_under_its_earlier_name_is_the_same(make):
    at = "layers.0.blocks.0.attn"
    state = {f"{at}.NAME.0.weight": make.rand(6, 2), f"{at}.NAME.0.bias": make.rand(6)}
    state |= {f"{at}.NAME.2.weight": make.rand(3, 6)}
    named = [
        {key.replace("NAME", name): value for key, value in state.items()}
        for name in ("rpe_mlp", "cpb_mlp")
    ]

    earlier, today = (extract(make.checkpoint(own, grid_size=(3, 4)))[0] for own in named)

    assert earlier.keys[0] == f"{at}.rpe_mlp.0.weight"
    assert np.array_equal(earlier.tables[0].values, today.tables[0].values)
