"""Native rules against the models that have them: Swin v2's network, NesT, Hiera, SAM 2."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from closeness import assert_close
from timm.layers import RelPosMlp
from timm.models.nest import resize_pos_embed
from timm.models.swin_transformer_v2 import WindowAttention

import pe_inspect as pei
from pe_inspect.analysis.interpolate import interpolate
from pe_inspect.errors import UsageError
from pe_inspect.families import extract
from pe_inspect.kinds.position_embedding import PositionEmbedding
from pe_inspect.loading.checkpoint import Checkpoint, Hints

SHIPPED = Path(__file__).parents[2] / "checkpoints"


def checkpoint_of(state_dict, **hints):
    return Checkpoint.from_state_dict(state_dict, source="x.pth", hints=Hints(**hints))


def close(ours, theirs):
    """Equal but for rounding, of which the sum over a network's hidden layer has its share."""
    assert_close(ours, theirs, operations=16)


# --- Swin v2 and RelPosMlp: the network is asked anew


def attention(window, trained=(0, 0)):
    torch.manual_seed(1)
    made = WindowAttention(8, window, num_heads=2, pretrained_window_size=trained)
    torch.nn.init.normal_(made.cpb_mlp[2].weight, std=0.5)
    return made


def swin_v2(module, window):
    """The embedding of a file with one such attention, read on a window."""
    trunk = {"patch_embed.proj.weight": torch.zeros(8, 3, 4, 4)}
    state = {f"layers.0.blocks.0.attn.{k}": v for k, v in module.state_dict().items()}
    (pe,) = extract(checkpoint_of(trunk | state, grid_size=window))
    return pe


def timms_bias(module):
    rows = module.cpb_mlp(module.relative_coords_table).view(-1, module.num_heads)
    tokens = module.window_size[0] * module.window_size[1]
    bias = rows[module.relative_position_index.view(-1)].view(tokens, tokens, -1)
    return (16 * torch.sigmoid(bias.permute(2, 0, 1))).detach().numpy()


@pytest.mark.parametrize("window", [(5, 7), (6, 4), (2, 9)])
def test_cpb_asks_swin_v2_s_network_for_the_new_window(window):
    old = attention((3, 4))
    new = attention(window, trained=(3, 4))

    result = interpolate(swin_v2(old, (3, 4)), grid=window)

    assert (result.native, result.rules) == ("cpb", {"native": "cpb"})
    close(result.embedding().tables[0].values, timms_bias(new))


@pytest.mark.parametrize("window", [(5, 7), (6, 4)])
def test_cpb_rescaled_is_timm_s_network_without_a_window_of_pre_training(window):
    result = interpolate(swin_v2(attention((3, 4)), (3, 4)), grid=window, method="cpb-rescaled")

    close(result.embedding().tables[0].values, timms_bias(attention(window)))


@pytest.mark.parametrize("window", [(5, 7), (3, 8)])
def test_cpb_asks_timm_s_rel_pos_mlp(window):
    torch.manual_seed(0)
    old = RelPosMlp((4, 3), num_heads=2, hidden_dim=8, prefix_tokens=1)
    new = RelPosMlp(window, num_heads=2, hidden_dim=8, prefix_tokens=1).eval()
    new.mlp.load_state_dict(old.mlp.state_dict())
    state = {f"blocks.0.attn.rel_pos.{k}": v for k, v in old.state_dict().items()}
    trunk = {"cls_token": torch.zeros(1, 1, 8), "patch_embed.proj.weight": torch.zeros(8, 3, 4, 4)}
    (pe,) = extract(checkpoint_of(trunk | state, grid_size=(4, 3)))

    result = interpolate(pe, grid=window)

    close(result.embedding().tables[0].values, new.get_bias()[0].detach().numpy())


def test_a_network_without_a_window_is_not_rescaled_and_all_says_so():
    mlp = RelPosMlp((4, 3), num_heads=2, hidden_dim=8)
    state = {f"blocks.0.attn.rel_pos.{k}": v for k, v in mlp.state_dict().items()}
    trunk = {"patch_embed.proj.weight": torch.zeros(8, 3, 4, 4)}
    (pe,) = extract(checkpoint_of(trunk | state, grid_size=(4, 3)))

    with pytest.raises(UsageError, match=r"takes them as they are. Use --method cpb"):
        interpolate(pe, grid=(5, 5), method="cpb-rescaled")

    result = interpolate(pe, grid=(5, 5), method="all")
    assert "cpb" in result.methods
    assert "cpb-rescaled" not in result.methods
    assert any(note.startswith("cpb-rescaled was left out") for note in result.notes)


def test_the_way_there_and_back_loses_nothing_and_reading_between_values_does():
    pe = swin_v2(attention((3, 4)), (3, 4))

    result = interpolate(pe, grid=(5, 7), method="cpb,bicubic")

    assert result.means("cpb")["round_trip_error"] == 0
    assert result.means("bicubic")["round_trip_error"] > 0
    assert result.means("bicubic")["difference_to_native"] > 0
    assert result.matrices("cpb") is None
    assert result.matrices("bicubic") is not None


def test_a_saved_extraction_keeps_its_networks(tmp_path):
    pe = swin_v2(attention((3, 4)), (3, 4))
    again = PositionEmbedding.open(pe.save(tmp_path / "x.pe.safetensors"))

    for method in ("cpb", "cpb-rescaled"):
        ours, theirs = (interpolate(p, grid=(5, 7), method=method) for p in (again, pe))
        np.testing.assert_array_equal(ours.values(), theirs.values())


def test_a_stored_bias_has_no_network_to_ask():
    state = {"layers.0.blocks.0.attn.relative_position_bias_table": torch.randn(15, 2)}
    (pe,) = extract(checkpoint_of(state, grid_size=(2, 3)))

    with pytest.raises(UsageError, match="--method cpb is for function"):
        interpolate(pe, grid=(5, 5), method="cpb")


# --- tables in blocks, and tables of a window


def normal(model):
    torch.manual_seed(0)
    for name, table in model.named_parameters():
        if "pos_embed" in name:
            torch.nn.init.normal_(table)
    return model.eval()


def test_nest_s_rule_is_timm_s():
    model = normal(timm.create_model("nest_tiny_jx", img_size=128))
    first = extract(checkpoint_of(model.state_dict()))[0]
    state = model.state_dict()["levels.0.pos_embed"]

    result = interpolate(first, grid=(48, 48))

    blocks = resize_pos_embed(state, torch.zeros(1, 16, 144, state.shape[-1]))[0].detach().numpy()
    placed = blocks.reshape(4, 4, 12, 12, -1).transpose(0, 2, 1, 3, 4).reshape(1, 48 * 48, -1)
    assert result.native == "nest"
    close(result.values(), placed)


@pytest.mark.parametrize(
    ("name", "rule"), [("hiera_small_abswin_256", "hiera"), ("sam2_hiera_tiny", "sam2")]
)
def test_hiera_s_two_tables_add_up_to_what_the_model_adds(name, rule):
    model = normal(timm.create_model(name, pretrained=False))
    whole, window = extract(checkpoint_of(model.state_dict()))
    grid = (64, 64) if rule == "hiera" else (64, 96)

    image, tile = interpolate(whole, grid=grid), interpolate(window, grid=grid)

    width = whole.embed_dim
    tokens = (
        torch.zeros(1, *grid, width) if rule == "sam2" else torch.zeros(1, grid[0] * grid[1], width)
    )
    added = model._pos_embed(tokens).detach().numpy().reshape(1, -1, width)
    assert (image.native, tile.native) == (rule, "tiled")
    close(image.values() + tile.values(), added)


def test_transformers_sam_2_adds_the_same_two_tables():
    from transformers.models.sam2 import modeling_sam2

    config = modeling_sam2.Sam2HieraDetConfig(
        hidden_size=16, embed_dim_per_stage=[16, 32], num_attention_heads=1,
        num_attention_heads_per_stage=[1, 2], blocks_per_stage=[1, 1],
        window_size_per_stage=[8, 4], global_attention_blocks=[], num_query_pool_stages=1,
    )  # fmt: skip
    model = normal(modeling_sam2.Sam2HieraDetModel(config))
    checkpoint = checkpoint_of(model.state_dict())
    checkpoint.metadata["config"] = config.to_dict()
    whole, window = extract(checkpoint)
    grid = (24, 16)

    image, tile = interpolate(whole, grid=grid), interpolate(window, grid=grid)

    added = model._get_pos_embed(grid).detach().numpy().reshape(1, -1, 16)
    assert (image.native, tile.native) == ("sam2", "tiled")
    close(image.values() + tile.values(), added)


def test_a_window_is_repeated_whole_or_not_at_all():
    model = timm.create_model("sam2_hiera_tiny", pretrained=False)
    _, window = extract(checkpoint_of(model.state_dict()))

    with pytest.raises(UsageError, match=r"no whole number of them. Pass a --grid whose sides are"):
        interpolate(window, grid=(64, 61))


# --- our own rotations, and cosines of half precision


def test_our_fixed_rotations_go_on_though_eva_02_s_names_are_theirs():
    pe = pei.extract(pei.load(SHIPPED / "zoo-rope-axial"))[0]
    model = pei.rebuild(pei.load(SHIPPED / "zoo-rope-axial"))

    result = interpolate(pe, grid=(6, 11))

    sines = model.rope((6, 11))[:, :16].detach().numpy()
    assert (result.native, result.rules) == ("rope-vit", {"native": "extrapolate"})
    np.testing.assert_allclose(np.sin(result.values()[0, 0]), sines[:, ::2], atol=2e-3)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_angles_of_half_precision_are_read_as_linear(dtype):
    places = torch.cartesian_prod(torch.arange(6.0), torch.arange(9.0))
    speeds = torch.tensor([1.0, 0.1, 0.01])
    angles = torch.cat([places[:, :1] * speeds, places[:, 1:] * speeds], 1).repeat_interleave(2, 1)
    state = {
        "rope.freqs_sin": angles.sin().to(dtype),
        "rope.freqs_cos": angles.cos().to(dtype),
        "blocks.0.attn.qkv.weight": torch.zeros(36, 12),
    }
    (pe,) = extract(checkpoint_of(state, grid_size=(6, 9)))

    result = interpolate(pe, grid=(5, 12), method="extrapolate")

    places = torch.cartesian_prod(torch.arange(5.0), torch.arange(12.0))
    wanted = torch.cat([places[:, :1] * speeds, places[:, 1:] * speeds], 1)
    np.testing.assert_allclose(result.values()[0, 0], wanted, atol=1e-2)
