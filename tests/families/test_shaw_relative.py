"""s-chh's clipped relative tables: four a block, row 0 for CLS."""

from __future__ import annotations

import re

import numpy as np
import pytest

from pe_inspect.errors import AmbiguousCheckpoint
from pe_inspect.families import extract


def test_each_block_has_tables_for_queries_and_values_over_both_axes(make):
    state = make.schh("relative", grid=(3, 5), depth=2)

    (pe,) = extract(make.checkpoint(make.shuffled(state)))

    assert (pe.family, pe.kind, pe.join) == ("shaw_relative", "relative", "layer")
    assert (pe.grid_size, pe.num_prefix_rows, pe.num_prefix_tokens, pe.depth) == ((3, 5), 1, 1, 2)
    parts = ["query.y", "query.x", "value.y", "value.x"]
    assert [t.name for t in pe.tables] == [f"blocks.{i}.{part}" for i in (0, 1) for part in parts]
    for table in pe.tables:
        part, axis = table.part.split(".")
        block = table.layer.split(".")[1]
        key = (
            f"encoder.{block}.attention.{part}_pos_embedding.{axis}_relative_embedding_table.weight"
        )
        np.testing.assert_array_equal(table.values, state[key])
    assert "grid 3×5 read from x_distances" in pe.notes
    assert "offsets are clipped to ±2; row 0 of each table is CLS" in pe.notes


def test_the_parameter_count_of_s_chh_s_model(make):
    state = make.schh("relative", grid=(8, 8), dim=128, heads=4, depth=6)

    (pe,) = extract(make.checkpoint(state))

    assert pe.num_parameters == 2_304
    assert [norm.eps for norm in pe.norms] == [1e-5] * 13


@pytest.mark.parametrize("grid", [(1, 6), (6, 1), (1, 1), (2, 7)])
def test_strips_are_told_from_the_distances_too(make, grid):
    (pe,) = extract(make.checkpoint(make.schh("relative", grid=grid)))

    assert pe.grid_size == grid


def without_distances(make):
    return {k: v for k, v in make.schh("relative").items() if "distances" not in k}


def test_without_distances_the_grid_has_to_be_said(make):
    message = "say no grid, and the file holds no x_distances buffer. Pass --grid-size HxW."
    with pytest.raises(AmbiguousCheckpoint, match=re.escape(message)):
        extract(make.checkpoint(without_distances(make)))

    (pe,) = extract(make.checkpoint(without_distances(make), grid_size=(3, 4)))
    assert pe.grid_size == (3, 4)


def test_a_grid_that_contradicts_the_distances_is_refused(make):
    with pytest.raises(AmbiguousCheckpoint, match="x_distances has 13 rows"):
        extract(make.checkpoint(make.schh("relative"), grid_size=(5, 5)))
