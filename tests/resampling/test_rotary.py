"""Rotary angles on another grid against timm, transformers, and the formulas themselves."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from closeness import ROUNDING, assert_close
from timm.layers.pos_embed_sincos import (
    RotaryEmbeddingCat,
    RotaryEmbeddingDinoV3,
    RotaryEmbeddingMixed,
)

from pe_inspect.analysis.interpolate import interpolate
from pe_inspect.errors import UsageError
from pe_inspect.families import extract
from pe_inspect.families.reading.arch import rotary_model, rotary_table
from pe_inspect.families.reading.rotation import first_of_pairs, pairing_of
from pe_inspect.families.trunk import Trunk
from pe_inspect.kinds.position_embedding import LayerPE, PositionEmbedding
from pe_inspect.loading.checkpoint import Checkpoint, Hints

GRIDS = [((14, 14), (24, 24)), ((6, 9), (13, 4)), ((7, 16), (7, 5)), ((37, 23), (61, 52))]


def phases(angles, grid_size, **fields):
    """An embedding of angles (H, W, count) or (heads, H, W, count)."""
    values = angles.reshape(-1, grid_size[0] * grid_size[1], angles.shape[-1])
    table = LayerPE("blocks.0", values, grid_size)
    return PositionEmbedding("rotary", "phases", "layer", (table,), **fields)


def axial(grid_size, base=100.0, count=8, first=0, offset=0.0, stretch=(1.0, 1.0)):
    """Angles of rows, then of columns, in float64."""
    speeds = base ** (-(np.arange(count) + first) / count)
    y, x = np.indices(grid_size) + offset
    return np.concatenate(
        [y[..., None] * stretch[0] * speeds, x[..., None] * stretch[1] * speeds], axis=-1
    )


def close(pe, target, method, expected):
    found = interpolate(pe, grid=target, method=method).values()[0]
    expected = np.asarray(expected).reshape(found.shape)
    assert_close(found, expected)


def turns(embed):
    """timm's [sin | cos] of pairs of channels, as one complex number a pair: it has no wraps."""
    sin, cos = embed.detach().chunk(2, dim=-1)
    return (cos + 1j * sin)[..., ::2].numpy()


def same_turns(found, expected):
    assert_close(np.exp(1j * found.astype(np.float64)), expected, at=[1.0, np.abs(found).max()])


@pytest.mark.parametrize(("source", "target"), GRIDS)
@pytest.mark.parametrize("offset", [0.0, 1.0])
def test_eva02_rescales_positions_as_timm_does(source, target, offset):
    def embed(shape):
        return RotaryEmbeddingCat(
            32, in_pixels=False, feat_shape=list(shape), ref_feat_shape=list(source),
            grid_offset=offset,
        ).get_embed(list(shape))  # fmt: skip

    pe = phases(axial(source, base=1e4, offset=offset).astype(np.float32), source)

    same_turns(pe.tables[0].values[0], turns(embed(source)))
    for method in ("eva02", "rescale"):
        found = interpolate(pe, grid=target, method=method).values()[0, 0]
        same_turns(found, turns(embed(target)))


@pytest.mark.parametrize(("source", "target"), GRIDS)
def test_rope_vit_extrapolates_its_mixed_angles_as_timm_does(source, target):
    torch.manual_seed(0)
    rope = RotaryEmbeddingMixed(48, depth=2, num_heads=3, feat_shape=list(source))
    freqs = rope.freqs.detach().numpy()[:, 1]  # (x or y, heads, count)

    def angles(shape):
        y, x = np.indices(shape)
        x_first, y_last = freqs[0][:, None, None], freqs[1][:, None, None]
        return x[None, ..., None] * x_first + y[None, ..., None] * y_last

    theirs = turns(rope.get_embed(list(target))[1])

    pe = phases(angles(source), source)
    close(pe, target, "rope-vit", angles(target))
    same_turns(interpolate(pe, grid=target).values()[0], theirs)


@pytest.mark.parametrize(("source", "target"), GRIDS)
def test_dinov3_normalises_coordinates_as_timm_does(source, target):
    def angles(shape):
        rope = RotaryEmbeddingDinoV3(64, feat_shape=list(shape), rotate_half=True).eval()
        sin, cos = rope.get_embed(list(shape)).chunk(2, dim=-1)
        return rope.periods.numpy(), (cos + 1j * sin)[:, :32].numpy()

    periods, at_source = angles(source)
    centres = [(np.arange(n) + 0.5) / n * 2 - 1 for n in source]
    y, x = np.meshgrid(*centres, indexing="ij")
    stored = 2 * np.pi * np.concatenate([y[..., None] / periods, x[..., None] / periods], -1)
    pe = phases(stored.astype(np.float32), source)

    same_turns(pe.tables[0].values[0], at_source)
    for method in ("dinov3", "native"):
        same_turns(interpolate(pe, grid=target, method=method).values()[0, 0], angles(target)[1])


@pytest.mark.parametrize("side", [max, min])
@pytest.mark.parametrize(("source", "target"), GRIDS)
def test_dinov3_can_measure_both_axes_by_one_side_as_timm_does(source, target, side):
    word = side.__name__

    def angles(shape):
        rope = RotaryEmbeddingDinoV3(
            64, feat_shape=list(shape), rotate_half=True, normalize_coords=word
        ).eval()
        sin, cos = rope.get_embed(list(shape)).chunk(2, dim=-1)
        return rope.periods.numpy(), (cos + 1j * sin)[:, :32].numpy()

    periods, _ = angles(source)
    centres = [(np.arange(n) + 0.5) / side(source) * 2 - 1 for n in source]
    y, x = np.meshgrid(*centres, indexing="ij")
    stored = 2 * np.pi * np.concatenate([y[..., None] / periods, x[..., None] / periods], -1)
    pe = phases(stored.astype(np.float32), source)

    found = interpolate(pe, grid=target, method=f"dinov3-{word}").values()[0, 0]
    same_turns(found, angles(target)[1])


def llama(count, length, kind, **more):
    from transformers import LlamaConfig
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

    config = LlamaConfig(
        hidden_size=2 * count, num_attention_heads=1, head_dim=2 * count,
        max_position_embeddings=length,
        rope_parameters={"rope_type": kind, "rope_theta": 10000.0, "factor": 1.0, **more},
    )  # fmt: skip
    return ROPE_INIT_FUNCTIONS[kind], config


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("source", "target"), [(14, 24), (37, 74), (300, 520)])
def test_ntk_changes_the_base_as_transformers_does(source, target):
    compute, config = llama(16, source, "dynamic")
    theirs, _ = compute(config, torch.device("cpu"), seq_len=target)

    stored = axial((source, 3), base=1e4, count=16)
    expected = np.arange(target)[:, None, None] * theirs.numpy() * np.ones((1, 3, 1))

    found = interpolate(phases(stored, (source, 3)), grid=(target, 3), method="ntk").values()[0, 0]
    found = found.reshape(target, 3, 32)[..., :16]
    assert_close(found, expected)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("source", "target"), [(14, 28), (100, 400), (600, 900)])
def test_yarn_goes_by_parts_as_transformers_does(source, target):
    compute, config = llama(
        16, source, "yarn", factor=target / source, original_max_position_embeddings=source
    )
    theirs, _ = compute(config, torch.device("cpu"))

    stored = axial((source, 2), base=1e4, count=16)
    expected = np.arange(target)[:, None, None] * theirs.numpy() * np.ones((1, 2, 1))

    found = interpolate(phases(stored, (source, 2)), grid=(target, 2), method="yarn").values()[0, 0]
    found = found.reshape(target, 2, 32)[..., :16]
    assert_close(found, expected)


@pytest.mark.parametrize("method", ["extrapolate", "rescale", "normalised", "ntk"])
def test_the_way_back_returns_the_angles(method):
    pe = phases(axial((6, 9), first=1), (6, 9))

    result = interpolate(pe, grid=(13, 20), method=method)
    back = interpolate(result.embedding(), grid=(6, 9), method=method)

    assert_close(back.values()[0], pe.tables[0].values, operations=32)
    assert result.summary()["round_trip_error"] < 1e-5
    assert result.summary()["norm_ratio"] == pytest.approx(1)


def test_a_method_without_a_way_back_has_no_round_trip():
    # YaRN's ramp spoils the geometric progression that it starts from.
    summary = interpolate(phases(axial((6, 9)), (6, 9)), grid=(13, 20), method="yarn").summary()

    assert np.isnan(summary["round_trip_error"])
    assert np.isfinite(summary["neighbour_cosine_after"])


def test_an_axis_that_keeps_its_side_keeps_its_angles():
    pe = phases(axial((6, 9)), (6, 9))

    for method in ("extrapolate", "rescale", "normalised", "ntk", "yarn"):
        found = interpolate(pe, grid=(11, 9), method=method).values()[0].reshape(11, 9, 16)
        before = pe.tables[0].values.reshape(6, 9, 16)
        assert_close(found[0, :, 8:], before[0, :, 8:], operations=32)


def test_measures_of_angles_are_those_of_their_affinity():
    pe = phases(axial((6, 9)), (6, 9))

    summary = interpolate(pe, grid=(12, 18), method="extrapolate").summary()
    angles = pe.tables[0].values[0].reshape(6, 9, 16)
    down = np.cos(angles[1:] - angles[:-1]).mean()
    across = np.cos(angles[:, 1:] - angles[:, :-1]).mean()

    assert summary["neighbour_cosine_before"] == pytest.approx((down + across) / 2, abs=ROUNDING)
    assert "high_frequency_before" not in summary


@pytest.mark.parametrize(
    ("angles", "method", "message"),
    [
        (axial((3, 5)) ** 2, "extrapolate", "are not linear in the position"),
        (axial((3, 5)) + np.arange(16), "rescale", "share no position at which all"),
        (axial((3, 5)) * np.arange(1, 17) ** 2, "ntk",
         "needs frequencies in geometric progression"),
        (axial((3, 5)) + axial((3, 5))[..., ::-1], "yarn", "these mix rows and columns"),
        (axial((1, 5)), "extrapolate", "A grid of one row does not show how angles grow"),
    ],
)  # fmt: skip
def test_angles_that_a_method_cannot_take_are_refused(angles, method, message):
    grid_size = angles.shape[:2]

    with pytest.raises(UsageError, match=message):
        interpolate(phases(angles, grid_size), grid=(6, 6), method=method)


def test_angles_without_a_shared_zero_can_still_go_on():
    angles = axial((3, 5)) + np.arange(16)

    close(phases(angles, (3, 5)), (4, 6), "extrapolate", axial((4, 6)) + np.arange(16))


def test_methods_of_tables_are_refused_for_angles_and_the_fitting_ones_are_named():
    with pytest.raises(UsageError, match="--method bicubic is for vectors, bias, relative, and"):
        interpolate(phases(axial((3, 5)), (3, 5)), grid=(6, 6), method="bicubic")


@pytest.mark.parametrize(
    ("angles", "fields", "library"),
    [
        (axial((6, 9), offset=-2.5) , {"keys": ("rope.freqs_cos",)}, "eva02"),
        (axial((6, 9)), {"keys": ("rope_embed.periods",)}, "dinov3"),
        (axial((6, 9)), {"architecture": "timm:vit_small_patch16_dinov3"}, "dinov3"),
        (axial((6, 9)), {"architecture": "timm:eva02_tiny_patch14_224"}, "eva02"),
        (axial((6, 9)), {"architecture": "timm:vit_pe_core_tiny_patch16_384"}, "eva02"),
    ],
)  # fmt: skip
def test_the_native_rule_of_angles(angles, fields, library):
    result = interpolate(phases(angles, (6, 9), **fields), grid=(4, 7))

    assert result.native == library
    assert result.notes[0].startswith(f"native is the rule of {library} ")


def test_no_rule_of_angles_is_claimed_for_a_name_that_many_give():
    result = interpolate(phases(axial((6, 9)), (6, 9), keys=("rope.freqs",)), grid=(4, 7))

    assert (result.native, result.origin.is_known) == ("rope-vit", False)


@pytest.mark.parametrize(
    ("name", "grid_size", "method"),
    [
        ("vit_small_patch16_dinov3", (7, 9), "native"),
        ("vit_small_patch16_dinov3", (16, 16), "native"),
        ("vit_small_patch16_dinov3", (16, 16), "normalised"),
        ("vit_pe_core_tiny_patch16_384", (24, 20), "native"),
    ],
)
def test_angles_that_timm_computes_go_where_timm_s_module_puts_them(name, grid_size, method):
    hints = Hints(arch=f"timm:{name}", grid_size=grid_size, origins={"arch": "--arch"})
    checkpoint = Checkpoint.from_state_dict({"cls_token": np.zeros((1, 1, 4))}, hints=hints)
    (pe,) = extract(checkpoint)

    angles = interpolate(pe, grid=(32, 28), method=method).values()[0, 0]

    sines, cosines = rotary_table(rotary_model(Trunk(checkpoint)), (32, 28))
    pairing = pairing_of(cosines)
    assert_close(np.sin(angles), first_of_pairs(sines, pairing), at=angles)
    assert_close(np.cos(angles), first_of_pairs(cosines, pairing), at=angles)
