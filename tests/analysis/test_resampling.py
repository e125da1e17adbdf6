"""Every method against the library that defines it, and the properties that all of them share."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from timm.layers import resample_abs_pos_embed, resize_rel_pos_bias_table

from pe_inspect.analysis._resampling import methods
from pe_inspect.analysis._resampling._matrices import taps_matrix, windowed_matrix
from pe_inspect.analysis._resampling.rules import geometric
from pe_inspect.analysis._resampling.torch_modes import bicubic, bicubic_aa, bilinear, bilinear_aa

PLAIN = {
    "bicubic": (bicubic, "bicubic", False),
    "bicubic-aa": (bicubic_aa, "bicubic", True),
    "bilinear": (bilinear, "bilinear", False),
    "bilinear-aa": (bilinear_aa, "bilinear", True),
}
SOURCES = [(3, 5), (14, 14), (1, 7), (16, 9), (1, 1)]
TARGETS = [(5, 3), (24, 31), (2, 2), (9, 14), (28, 28), (3, 5), (37, 21)]
sides = st.integers(1, 9)
names = pytest.mark.parametrize("name", PLAIN)


def table(grid_size, channels=4, seed=0):
    """A table with the scale of trained ones: entries of about ±0.02 … ±0.1."""
    values = np.random.default_rng(seed).standard_normal((*grid_size, channels)) * 0.05
    return values.astype(np.float32)


def by_timm(values, target, mode, antialias):
    rows, columns, channels = values.shape
    flat = torch.tensor(values).reshape(1, rows * columns, channels)
    out = resample_abs_pos_embed(
        flat, list(target), [rows, columns], num_prefix_tokens=0,
        interpolation=mode, antialias=antialias,
    )  # fmt: skip
    return out[0].numpy().reshape(*target, channels)


@names
@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("target", TARGETS)
def test_every_method_equals_timm_on_non_square_grids(name, source, target):
    ours, mode, antialias = PLAIN[name]
    values = table(source)

    expected = by_timm(values, target, mode, antialias)

    np.testing.assert_allclose(ours(values, target), expected, rtol=0, atol=1e-6)


@names
def test_unit_tables_agree_with_torch_to_its_own_rounding(name):
    ours, mode, antialias = PLAIN[name]
    values = np.random.default_rng(1).standard_normal((37, 23, 3)).astype(np.float32)

    exact = torch.tensor(values, dtype=torch.float64).permute(2, 0, 1)[None]
    expected = F.interpolate(exact, size=(16, 31), mode=mode, antialias=antialias)[0]

    found = ours(values, (16, 31))
    np.testing.assert_allclose(found, expected.permute(1, 2, 0).numpy(), rtol=0, atol=1e-5)


@names
@pytest.mark.parametrize("target", [(13, 1), (3, 1), (9, 1)])
def test_a_target_one_column_wide_is_the_transpose_of_one_row_high(name, target):
    # PyTorch 2.15's antialiased kernel repeats its first value down a target of width 1.
    ours, mode, antialias = PLAIN[name]
    values = table((7, 2))

    expected = by_timm(values.swapaxes(0, 1), target[::-1], mode, antialias).swapaxes(0, 1)

    np.testing.assert_allclose(ours(values, target), expected, rtol=0, atol=1e-6)


@names
@settings(max_examples=20)
@given(rows=sides, columns=sides)
def test_resampling_to_the_same_grid_is_the_identity(name, rows, columns):
    values = table((rows, columns))

    np.testing.assert_array_equal(PLAIN[name][0](values, (rows, columns)), values)


@names
@settings(max_examples=20)
@given(source=st.tuples(sides, sides), target=st.tuples(sides, sides))
def test_a_constant_table_stays_constant(name, source, target):
    found = PLAIN[name][0](np.full((*source, 2), 0.3, np.float32), target)

    np.testing.assert_allclose(found, np.float32(0.3), rtol=0, atol=1e-7)


@names
@settings(max_examples=20)
@given(source=st.tuples(sides, sides), target=st.tuples(sides, sides))
def test_transposing_commutes_with_resampling(name, source, target):
    values = table(source)

    turned = PLAIN[name][0](values.swapaxes(0, 1), target[::-1]).swapaxes(0, 1)

    np.testing.assert_allclose(PLAIN[name][0](values, target), turned, rtol=0, atol=1e-12)


@settings(max_examples=40)
@given(source=st.integers(1, 40), target=st.integers(1, 40))
def test_rows_of_the_matrices_sum_to_one(source, target):
    def triangle(x):
        return np.maximum(1 - np.abs(x), 0)

    for build in (taps_matrix, windowed_matrix):
        matrix = build(triangle, 1, source, target)

        assert matrix.shape == (target, source)
        np.testing.assert_allclose(matrix.sum(axis=1), 1, rtol=0, atol=1e-12)


@names
def test_a_missing_value_touches_only_what_draws_on_it(name):
    values = table((5, 7))
    values[0, 0, 1] = np.inf

    found = PLAIN[name][0](values, (10, 14))

    assert np.isnan(found[0, 0, 1])
    assert np.isfinite(found[..., 0]).all()
    assert np.isfinite(found[6:, 8:, 1]).all()


@pytest.mark.filterwarnings("ignore:.*:UserWarning")
@pytest.mark.parametrize("source", [(3, 5), (7, 7), (2, 6)])
@pytest.mark.parametrize("target", [(5, 3), (12, 14), (2, 2), (7, 7), (1, 1), (4, 4)])
def test_the_geometric_rule_equals_timm_on_bias_tables(source, target):
    old, new = ((2 * rows - 1, 2 * columns - 1) for rows, columns in (source, target))
    values = np.random.default_rng(0).standard_normal((*old, 3)).astype(np.float32)

    expected = resize_rel_pos_bias_table(
        torch.tensor(values.reshape(-1, 3)), target, (new[0] * new[1], 3), source
    )

    found = geometric(values, new)
    np.testing.assert_allclose(found, expected.numpy().reshape(*new, 3), rtol=0, atol=2e-6)


def test_every_method_says_what_it_does_and_where_it_is_defined():
    assert set(methods) == {"native", "bicubic", "bicubic-aa", "bilinear", "bilinear-aa", "timm"}
    for name, method in methods.items():
        assert method.name == name
        assert method.call in str(method)
        assert method.source in str(method)
