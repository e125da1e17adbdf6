"""Tables of unit variance on long axes, where a float32 place moves a weight by up to 1e-5."""

from __future__ import annotations

import numpy as np
import pytest
from closeness import assert_close
from resampling.torch_calls import FACTORS, LINES, by_torch, plain
from scipy import ndimage

from pe_inspect.resampling.methods.scale_factor import cells_made

FAR_SOURCES = [(37, 37), (16, 9), (3, 5), (64, 48)]
FAR_TARGETS = [(43, 78), (61, 115), (18, 20), (97, 33), (16, 31)]


def table(grid_size):
    return np.random.default_rng(0).standard_normal((*grid_size, 16)).astype(np.float32)


def close_at_unit_variance(found, expected, values):
    """To 16 ε of the largest entry: sums are off by up to 5 ε, places in float64 by up to 54."""
    assert_close(found, expected, operations=4, at=values)


@pytest.mark.parametrize("name", LINES)
@pytest.mark.parametrize("source", FAR_SOURCES)
@pytest.mark.parametrize("target", FAR_TARGETS)
def test_torch_modes_equal_torch_at_unit_variance(name, source, target):
    values = table(source)

    expected = by_torch(values, size=target, **LINES[name])

    close_at_unit_variance(plain(name)(values, target), expected, values)


@pytest.mark.parametrize("name", FACTORS)
@pytest.mark.parametrize("source", FAR_SOURCES)
@pytest.mark.parametrize("target", FAR_TARGETS)
def test_scale_factors_equal_torch_at_unit_variance(name, source, target):
    added, call = FACTORS[name]
    factor = tuple((m + added) / n for m, n in zip(target, source))
    if any(cells_made(n, m, added) != m for n, m in zip(source, target)):
        return  # refused: another number of cells

    values = table(source)

    expected = by_torch(values, scale_factor=factor, **call)
    close_at_unit_variance(plain(name)(values, target), expected, values)


@pytest.mark.parametrize("source", FAR_SOURCES)
@pytest.mark.parametrize("target", FAR_TARGETS)
def test_zoom_equals_scipys_lines_at_unit_variance(source, target):
    values = table(source)
    factors = (*(m / n for m, n in zip(target, source)), 1)

    expected = ndimage.zoom(values, factors, order=1, mode="nearest")

    assert_close(plain("zoom")(values, target), expected, operations=2)


def test_zoom_reads_the_last_cell_where_scipys_rounding_reads_nothing():
    """16 → 30: 29 · (15 / 29) is above 15 in float64, and scipy's mode='constant' puts 0 there."""
    ones = np.ones((16, 16, 1), np.float32)

    theirs = ndimage.zoom(ones, (30 / 16, 30 / 16, 1), order=1)
    found = plain("zoom")(ones, (30, 30))

    assert_close(theirs[:-1, :-1], found[:-1, :-1])
    assert not theirs[-1].any()
    assert_close(found, 1)
