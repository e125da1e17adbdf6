from __future__ import annotations

import itertools
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from closeness import assert_close
from hypothesis import given, settings
from hypothesis import strategies as st

from pe_inspect.analysis.common.map_statistics import block_side, coarse_grid, thinned
from pe_inspect.analysis.similarity import similarity
from pe_inspect.errors import UsageError
from pe_inspect.kinds.position_embedding import LayerNormParams, LayerPE


def torch_cosines(values):
    x = torch.tensor(np.asarray(values, np.float32))
    return torch.nn.functional.cosine_similarity(x[:, None], x[None, :], dim=-1).numpy()


def torch_norm(values, norm, eps):
    x, weight, bias = (torch.tensor(np.asarray(a)) for a in (values, norm.weight, norm.bias))
    return torch.nn.functional.layer_norm(x, x.shape[-1:], weight, bias, eps).numpy()


def sinusoid_1d(patches, width):
    angles = np.arange(patches)[:, None] / 10000 ** (2 * np.arange(width // 2) / width)
    return np.stack([np.sin(angles), np.cos(angles)], axis=-1).reshape(patches, width)


def sinusoid_2d(height, width, channels):
    along = [sinusoid_1d(side, channels // 2) for side in (height, width)]
    y, x = np.divmod(np.arange(height * width), width)
    return np.concatenate([along[0][y], along[1][x]], axis=1)


@pytest.mark.parametrize("eps", [None, 1e-5])
@pytest.mark.parametrize("join", ["input", "share", "unshare", "lape"])
@pytest.mark.parametrize("scheme", ["learned", "1d", "2d"])
def test_every_layer_equals_the_definition(vectors, join, eps, scheme):
    pe = vectors(join, grid=(4, 6), width=32, depth=4, prefix=1)
    if scheme != "learned":
        values = sinusoid_1d(24, 32) if scheme == "1d" else sinusoid_2d(4, 6, 32)
        values = np.concatenate([np.zeros((1, 32)), values]).astype(np.float32)
        pe = replace(pe, tables=tuple(replace(table, values=values) for table in pe.tables))
    name = "pe_norm" if join == "lape" else "norm1"
    norms = pe.norms_named(name)

    result = similarity(pe, ln_eps=eps)

    omega = pe.tables[0].values[1:]
    for k, maps in enumerate(result.matrix):
        norm = norms[f"blocks.{k}"]
        table = omega if join == "lape" else pe.tables[k if join == "unshare" else 0].values[1:]
        omega = torch_norm(table, norm, norm.eps if eps is None else eps)
        assert_close(maps[0], torch_cosines(omega), operations=32)


def test_the_raw_map_is_the_cosine_of_the_stored_table(vectors):
    pe = vectors(prefix=2)
    result = similarity(pe)

    assert_close(result.raw[0, 0], torch_cosines(pe.tables[0].values[2:]))
    assert result.raw.shape == (1, 1, 15, 15)
    assert similarity(vectors("unshare", depth=4)).raw.shape == (4, 1, 15, 15)
    assert similarity(pe, raw=False).raw is None


def test_prefix_rows_are_dropped_from_the_front(table_of):
    """The infamous snippet drops the last row instead of the first, and shifts every tile."""
    rng = np.random.default_rng(0)
    values = rng.normal(size=(13, 6)).astype(np.float32)

    tiles = similarity(table_of(values, (3, 4), prefix=1)).fig7()

    right, wrong = torch_cosines(values[1:]), torch_cosines(values[:-1])
    assert_close(tiles.values, right.reshape(3, 4, 3, 4))
    assert np.abs(tiles.values - wrong.reshape(3, 4, 3, 4)).max() > 0.5


def test_a_tile_of_figure_7_is_the_map_of_its_own_patch(table_of):
    one_hot = np.eye(12, dtype=np.float32)
    cls = np.ones((1, 12), np.float32)

    tiles = similarity(table_of(np.concatenate([cls, one_hot]), (3, 4), prefix=1)).fig7()

    for row in range(3):
        for column in range(4):
            expected = np.zeros((3, 4))
            expected[row, column] = 1
            np.testing.assert_array_equal(tiles.values[row, column], expected)
    assert not tiles.is_thinned


def test_a_large_grid_has_evenly_spaced_tiles(table_of):
    values = np.random.default_rng(0).normal(size=(40, 5))
    tiles = similarity(table_of(values, (2, 20))).fig7(4)

    assert (tiles.rows, tiles.columns) == ((0, 1), (0, 5, 10, 15))
    assert tiles.values.shape == (2, 4, 2, 20)
    assert tiles.is_thinned
    expected = torch_cosines(values)[20 + 5].reshape(2, 20)
    assert_close(tiles.values[1, 1], expected)


def test_query_maps_are_rows_of_the_matrix(vectors):
    result = similarity(vectors(grid=(3, 5)))
    matrix = result.matrix

    assert_close(result.query_maps((2, 1)), matrix[:, :, 11].reshape(3, 1, 3, 5))
    middle = matrix[:, :, 1 * 5 + 2].reshape(3, 1, 3, 5)
    assert_close(result.query_maps(), middle)


def test_the_middle_patch_is_the_default_and_is_said(vectors):
    assert similarity(vectors(grid=(4, 7))).parameters["token"] == [2, 3]
    assert similarity(vectors(grid=(4, 7)), token=(0, 6)).parameters["token"] == [0, 6]


@settings(max_examples=20, deadline=None)
@given(st.permutations(range(15)))
def test_permuting_patches_permutes_every_layer(vectors, order):
    pe = vectors(prefix=0)
    shuffled = replace(pe.tables[0], values=pe.tables[0].values[list(order)])

    permuted = similarity(replace(pe, tables=(shuffled,))).matrix

    expected = similarity(pe).matrix[:, :, order][:, :, :, order]
    assert_close(permuted, expected)


def test_one_layer_can_be_chosen_by_name_or_place(vectors):
    pe = vectors(depth=12)
    whole = similarity(pe).matrix

    for layer in (10, "10", "blocks.10"):
        one = similarity(pe, layer=layer)
        assert one.layer_names == ("blocks.10",)
        np.testing.assert_array_equal(one.matrix, whole[10:11])


def test_layers_with_fewer_heads_are_filled_up_with_nan(per_layer):
    rng = np.random.default_rng(0)
    pe = per_layer("bias", [rng.normal(size=(h, 6, 6)) for h in (2, 3)], (2, 3))
    result = similarity(pe)

    assert result.matrix.shape == (2, 3, 6, 6)
    assert np.isnan(result.matrix[0, 2]).all()
    assert np.isfinite(result.matrix[1]).all()
    assert any("different numbers of heads" in note for note in result.notes)
    assert [len(maps) for _, maps in result.layers()] == [2, 3]


def test_one_head_can_be_chosen(per_layer):
    bias = np.random.default_rng(0).normal(size=(3, 6, 6)).astype(np.float32)
    result = similarity(per_layer("bias", [bias], (2, 3)), head=2)

    np.testing.assert_array_equal(result.matrix, bias[None, 2:])
    np.testing.assert_array_equal(result.overview().maps[0], bias[2])
    np.testing.assert_array_equal(result.query_maps((0, 1))[0, 0], bias[2, 1].reshape(2, 3))


def test_the_parts_of_a_relative_scheme_are_one_layer_with_two_heads(per_layer):
    rng = np.random.default_rng(0)
    parts = ["query.y", "query.x", "value.y", "value.x"] * 2
    names = ["encoder.0"] * 4 + ["encoder.1"] * 4
    tables = [rng.normal(size=(6, 4)) for _ in parts]
    pe = per_layer("relative", tables, (3, 4), prefix=1, names=names, parts=parts)

    result = similarity(pe)

    assert result.layer_names == ("encoder.0", "encoder.1")
    assert result.matrix.shape == (2, 2, 12, 12)
    assert_close(np.einsum("lhii->lhi", result.matrix), 1)


def test_layers_of_different_grids_are_given_one_by_one(per_layer):
    tables = (
        LayerPE("layers.0", np.zeros((2, 6, 6), np.float32), (2, 3)),
        LayerPE("layers.1", np.ones((2, 2, 2), np.float32), (1, 2)),
    )
    pe = replace(per_layer("bias", [np.zeros((2, 6, 6))], (2, 3)), tables=tables)
    result = similarity(pe)

    assert [maps.shape for _, maps in result.layers()] == [(2, 6, 6), (2, 2, 2)]
    with pytest.raises(UsageError, match=re.escape("grids are 1×2, 2×3. Choose a --layer")):
        _ = result.matrix
    with pytest.raises(UsageError, match="query_maps stacks the layers"):
        result.query_maps()


@pytest.mark.parametrize("token", [(20, 3), (3, 5), (-1, 0)])
def test_a_patch_outside_the_grid_is_refused(vectors, token):
    message = f"--token {token[0]},{token[1]} is outside the 3×5 grid: rows 0–2, columns 0–4"
    with pytest.raises(UsageError, match=re.escape(message)):
        similarity(vectors(), token=token)


def test_a_patch_is_two_numbers(vectors):
    with pytest.raises(UsageError, match=re.escape("--token takes a row and a column")):
        similarity(vectors(), token=(3,))


def test_a_layer_that_does_not_exist_is_refused(vectors):
    with pytest.raises(UsageError, match=re.escape("--layer 3 is outside 0–2: blocks.0 … block")):
        similarity(vectors(), layer=3)
    with pytest.raises(UsageError, match=re.escape("Unknown layer 'block.1'. Did you mean 'bloc")):
        similarity(vectors(), layer="block.1")


def test_a_head_that_does_not_exist_is_refused(vectors, per_layer):
    pe = per_layer("bias", [np.zeros((3, 6, 6))], (2, 3))
    with pytest.raises(UsageError, match=re.escape("--head 3 does not exist in blocks.0, which h")):
        similarity(pe, head=3)
    with pytest.raises(UsageError, match="which has one map, shared by all heads"):
        similarity(vectors(), head=1)


def test_the_scale_is_symmetric_and_covers_every_layer(per_layer, vectors):
    bias = np.zeros((1, 6, 6))
    bias[0, 2, 2] = -3.5
    pe = per_layer("bias", [bias, np.ones((1, 6, 6))], (2, 3))

    assert similarity(pe).limit == 3.5
    assert similarity(vectors()).limit == 1
    assert similarity(per_layer("bias", [np.zeros((1, 6, 6))], (2, 3))).limit == 1


def test_one_patch_alone_has_no_pairs(table_of):
    result = similarity(table_of(np.ones((1, 4)), (1, 1)))

    assert result.matrix.shape == (1, 1, 1, 1)
    assert all(np.isnan(result.summary()[name]) for name in ("mean", "neighbours", "far"))


def test_the_frame_has_one_row_a_layer(vectors):
    frame = similarity(vectors()).to_frame()

    assert list(frame["layer"]) == ["blocks.0", "blocks.1", "blocks.2"]
    assert list(frame["norm"]) == [f"blocks.{k}.pe_norm" for k in range(3)]
    assert {"notion", "mean", "neighbours", "far", "num_undefined"} <= set(frame.columns)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 7), st.integers(1, 6), st.integers(1, 20))
def test_thinning_averages_squares_of_the_grid(height, width, most):
    values = np.random.default_rng(0).normal(size=(height * width,) * 2).astype(np.float32)
    side = block_side((height, width), most)
    rows, columns = coarse_grid((height, width), side)

    result = thinned(values, (height, width), most)

    assert result.shape == (rows * columns,) * 2
    assert rows * columns <= most
    y, x = np.divmod(np.arange(height * width), width)
    block = y // side * columns + x // side
    for query, key in itertools.product(range(rows * columns), repeat=2):
        part = values[np.ix_(block == query, block == key)]
        assert result[query, key] == pytest.approx(part.mean(), abs=1e-5)


def test_a_ramp_that_no_square_mixes_stays_smooth_on_an_odd_grid():
    y, x = np.divmod(np.arange(37 * 37), 37)
    apart = np.hypot(y[:, None] - y, x[:, None] - x).astype(np.float32)
    result = thinned(apart, (37, 37), 256).reshape(13, 13, 13, 13)
    assert (np.diff(result[0, 0], axis=0) > 0).all()
    assert (np.diff(result[0, 0], axis=1) > 0).all()


def test_thinning_leaves_missing_pairs_out():
    values = np.ones((8, 8), np.float32)
    values[0, 0] = np.nan
    second = [2, 3, 6, 7]  # the second square of 2×2 on 2×4 patches
    values[np.ix_(second, second)] = np.nan

    np.testing.assert_array_equal(thinned(values, (2, 4), 2), [[1, 1], [1, np.nan]])


def test_an_overview_says_what_it_was_thinned_from(table_of):
    values = np.random.default_rng(0).normal(size=(320, 4))
    result = similarity(table_of(values, (16, 20)))

    overview = result.overview()
    smaller, larger = result.overview(60), result.overview(320)

    assert (overview.maps[0].shape, overview.block, overview.thinned_from) == (
        (80, 80),
        (2,),
        (320,),
    )
    assert (smaller.maps[0].shape, smaller.block) == ((20, 20), (4,))
    assert_close(smaller.maps[0], thinned(larger.maps[0], (16, 20), 20), operations=32)
    assert larger.block == (1,)
    assert [result.overview_side(most) for most in (60, 256, 320)] == [20, 80, 320]


def test_maps_are_computed_once_for_all_figures_and_numbers(vectors, monkeypatch):
    import pe_inspect.kinds.affinity as module

    computed = []
    real = module.Products.map
    monkeypatch.setattr(
        module.Products, "map", lambda self, head: computed.append(1) or real(self, head)
    )
    result = similarity(vectors(depth=4))
    for _ in range(2):
        _ = result.summary(), result.notes, result.limit, result.rows()
        _ = result.overview(), result.overview(5), result.query_maps(), result.fig7()

    assert len(computed) == 4


def test_the_norms_of_a_pyramid_are_not_mixed_up(vectors):
    pe = vectors("input")
    ones = np.ones(8, np.float32)
    other = LayerNormParams("blocks.9", "norm1", ones, ones, 1e-6)

    result = similarity(replace(pe, norms=(other, *pe.norms)))

    assert result.layer_names == ("blocks.0", "blocks.1", "blocks.2")


def test_an_embedding_and_its_result_print_as_one_line(vectors):
    pe = vectors(grid=(3, 5), prefix=1)

    assert repr(pe) == f"PositionEmbedding({pe.headline})"
    assert repr(similarity(pe)) == "SimilarityResult(3 layers, 3×5, cosine similarity)"


def test_xarray_has_every_map_by_layer_head_and_place(vectors):
    result = similarity(vectors(depth=2))
    found = result.to_xarray()
    assert found.affinity.dims == (
        "layer", "head", "query_row", "query_column", "key_row", "key_column",
    )  # fmt: skip
    one = found.affinity.sel(layer="blocks.1").isel(head=0, query_row=2, query_column=3)
    assert_close(one.values, result.query_maps((2, 3))[1, 0])
    assert found["mean"].sel(layer="blocks.0") == result.rows()[0]["mean"]
    assert "notion" in found.coords
