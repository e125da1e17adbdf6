"""Several embeddings on one grid and one scale; numbers against numpy."""

from __future__ import annotations

import numpy as np
import pytest
from closeness import ROUNDING

from pe_inspect.analysis.compare import compare
from pe_inspect.analysis.interpolate import interpolate
from pe_inspect.analysis.similarity import similarity


def off_diagonal(values):
    return values[~np.eye(len(values), dtype=bool)]


def test_maps_of_one_grid_are_compared_as_they_are(vectors):
    results = [similarity(vectors(seed=seed)) for seed in (0, 3)]
    side = compare(results, ["a", "b"])
    assert side.results == tuple(results)
    assert side.notes == ()
    assert side.scale == (0.0, 1.0)
    (found,) = side.likenesses
    for layer in range(3):
        one, other = (off_diagonal(result.matrix[layer, 0]) for result in results)
        expected = np.corrcoef(one, other)[0, 1]
        assert found.correlations[layer] == pytest.approx(expected, abs=1e-5)
        assert found.differences[layer] == pytest.approx(
            np.abs(results[0].matrix[layer, 0] - results[1].matrix[layer, 0]).mean(), abs=ROUNDING
        )


def test_another_grid_is_resampled_to_the_commonest_and_said_so(vectors):
    grids = [(3, 5), (4, 6), (4, 6)]
    results = [similarity(vectors(grid=grid, seed=k)) for k, grid in enumerate(grids)]
    side = compare(results, ["a", "b", "c"])
    assert side.grid_size == (4, 6)
    assert [result.grid_size for result in side.results] == [(4, 6)] * 3
    assert side.notes == ("a was resampled from 3×5 to 4×6 patches by its own library's rule",)
    moved = similarity(interpolate(results[0].pe, grid=(4, 6)).embedding())
    np.testing.assert_array_equal(side.results[0].matrix, moved.matrix)
    assert len(side.likenesses) == 3


def test_layers_are_matched_by_depth_and_those_left_out_are_counted(vectors):
    results = [similarity(vectors(depth=depth)) for depth in (3, 5)]
    side = compare(results, ["shallow", "deep"])
    assert side.layers == ((0, 1, 2), (0, 2, 4))
    assert side.names(1, [0, 2]) == ["blocks.0", "blocks.4"]
    (note,) = side.notes
    assert note.startswith("shown of deep: 3 of 5 layers, at the same depth")


def test_quantities_that_have_no_scale_in_common_are_left_out_by_name(vectors, per_layer):
    bias = per_layer("bias", [np.ones((2, 15, 15), np.float32)], (3, 5))
    results = [similarity(pe) for pe in (vectors(), bias, vectors(seed=2))]
    side = compare(results, ["a", "swin", "c"])
    assert side.places == (0, 2)
    assert side.notes == (
        "swin is left out: it shows the attention bias, the others the cosine similarity",
    )
    assert compare(results[:2], ["a", "swin"]) is None


def test_biases_share_a_scale_that_holds_them_all(per_layer):
    draw = np.random.default_rng(0)
    pes = [per_layer("bias", [draw.normal(0, size, (1, 15, 15))], (3, 5)) for size in (0.1, 2.0)]
    side = compare([similarity(pe) for pe in pes], ["a", "b"])
    largest = max(np.abs(pe.tables[0].values).max() for pe in pes)
    assert side.scale == pytest.approx((0.0, largest), rel=ROUNDING)


def test_an_embedding_that_cannot_be_resampled_is_left_out_with_the_reason(vectors, per_layer):
    draw = np.random.default_rng(0)
    peg = per_layer("function", [draw.normal(size=(12, 8)).astype(np.float32)], (3, 4))
    side = compare([similarity(pe) for pe in (vectors(), vectors(seed=1), peg)], ["a", "b", "p"])
    assert side.places == (0, 1)
    assert side.notes[0].startswith("p is left out: ")
