"""Fixed tables are recognised by their values, whichever library laid them out."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from timm.layers import build_sincos2d_pos_embed

from pe_inspect.errors import AmbiguousCheckpoint
from pe_inspect.families import extract


def count_of_lape(rows, dim):
    """LaPE's 1-D table by two plain loops: (rows, dim), class token at position 0."""
    angle = [[p / 10000 ** (2 * (i // 2) / dim) for i in range(dim)] for p in range(rows)]
    return np.array(
        [[np.cos(a) if i % 2 else np.sin(a) for i, a in enumerate(row)] for row in angle],
        np.float32,
    )


def halves(grid, dim, order="xy", last=0):
    """[sin | cos] of one axis, then of the other; `last=1` ends at 1/10000."""
    n = dim // 4
    omega = 1 / 10000 ** (np.arange(n) / (n - last))
    y, x = (axis.reshape(-1, 1) for axis in np.indices(grid))
    axes = [{"x": x, "y": y}[name] for name in order]
    return np.concatenate([f(a * omega) for a in axes for f in (np.sin, np.cos)], 1).astype("f4")


def read(make, table, **hints):
    return extract(make.checkpoint(make.deit(dim=16) | {"pos_embed": table}, **hints))[0]


def with_cls(table):
    return np.vstack([np.zeros((1, table.shape[1])), table])[None].astype(np.float32)


def test_lape_s_one_dimensional_table_is_stored_in_two_axes(make):
    table = count_of_lape(13, 16)

    pe = read(make, table, grid_size=(3, 4))

    assert (pe.family, pe.num_parameters, pe.num_prefix_rows) == ("sinusoidal_1d", 0, 1)
    assert "fixed 1-D sines and cosines, pairs" in pe.notes
    np.testing.assert_array_equal(pe.tables[0].values, table)


@pytest.mark.parametrize(
    ("table", "said"),
    [
        (halves((3, 5), 16), "x first, halves (as in MAE)"),
        (
            halves((3, 5), 16, last=1),
            "x first, halves, exponents k/(n−1) (as in MoCo v3, big_vision, SimpleViT)",
        ),
        (halves((3, 5), 16, order="yx"), "y first, halves"),
        (build_sincos2d_pos_embed([3, 5], 16).numpy(), "y first, sines first (as in timm)"),
        (
            build_sincos2d_pos_embed([3, 5], 16, interleave_sin_cos=True).numpy(),
            "y first, halves",
        ),
    ],
)
def test_two_dimensional_tables_are_named_by_their_layout_and_tell_their_own_grid(
    make, table, said
):
    pe = read(make, with_cls(table))

    assert (pe.family, pe.num_parameters) == ("sinusoidal_2d", 0)
    assert (pe.grid_size, pe.num_prefix_rows) == ((3, 5), 1)
    assert f"fixed 2-D sines and cosines, {said}" in pe.notes
    assert "grid 3×5 read from the table's values" in pe.notes


def test_lape_s_and_s_chh_s_tables_are_one_layout(make):
    (schh,) = extract(make.checkpoint(make.schh("sinusoidal")))
    lape = read(make, with_cls(make.sincos_2d((3, 4), 16)))

    assert (schh.family, schh.grid_size, schh.num_prefix_rows) == ("sinusoidal_2d", (3, 4), 0)
    assert (lape.grid_size, lape.num_prefix_rows) == ((3, 4), 1)
    for pe in (schh, lape):
        assert "fixed 2-D sines and cosines, x first, pairs (as in LaPE, s-chh)" in pe.notes


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_rounding_to_half_precision_does_not_hide_a_fixed_table(make, dtype):
    table = torch.from_numpy(with_cls(halves((7, 7), 64))).to(dtype)
    state = make.deit(dim=64) | {"pos_embed": table}

    (pe,) = extract(make.checkpoint(state))

    assert pe.family == "sinusoidal_2d"


def test_hugging_face_s_mae_starts_from_a_fixed_table(make):
    from transformers import ViTMAEConfig, ViTMAEModel

    config = ViTMAEConfig(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        image_size=48,
        patch_size=16,
    )
    model = ViTMAEModel(config)
    embeddings = model.embeddings
    for module in (embeddings.patch_embeddings.projection, embeddings.position_embeddings):
        module._is_hf_initialized = False
    embeddings.initialize_weights()

    (pe,) = extract(make.checkpoint(model.state_dict()))

    assert (pe.family, pe.grid_size, pe.num_prefix_rows) == ("sinusoidal_2d", (3, 3), 1)
    assert "fixed 2-D sines and cosines, x first, halves (as in MAE)" in pe.notes


def test_a_table_of_no_known_layout_says_so(make):
    table = halves((3, 4), 16)[:, ::-1]

    pe = read(make, with_cls(table), grid_size=(3, 4))

    assert pe.family == "sinusoidal_2d"
    assert (
        "sines and cosines of no layout that is known here (each channel along one axis); taken "
        "for a fixed table" in pe.notes
    )


def test_a_grid_that_the_values_contradict_is_refused(make):
    message = "holds the sines and cosines of a 3×4 grid with 1 prefix rows; --grid-size says 4×3"
    with pytest.raises(AmbiguousCheckpoint, match=re.escape(message)):
        read(make, with_cls(halves((3, 4), 16)), grid_size=(4, 3))


def test_a_fixed_table_that_was_trained_on_is_learned(make):
    table = with_cls(halves((3, 4), 16))
    table[:, 1:] += make.rand(1, 12, 16) * 10

    assert read(make, table, grid_size=(3, 4)).family == "learned_absolute"


@pytest.mark.parametrize("value", [0.0, np.nan])
def test_a_table_of_zeros_or_nans_is_not_sinusoidal(make, value):
    table = np.full((1, 13, 16), value, dtype=np.float32)

    assert read(make, table, grid_size=(3, 4)).family == "learned_absolute"
