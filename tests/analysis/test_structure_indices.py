"""The indices of `structure`: against loops, scipy, published numbers and real weights."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from analysis.made import dinov2, strong
from scipy.stats import pearsonr, spearmanr

from pe_inspect.analysis.interpolate import interpolate
from pe_inspect.analysis.structure.hierarchy import (
    hierarchy,
    kept_queries,
    layer_correlations,
    off_diagonal,
)
from pe_inspect.analysis.structure.indices import COLUMNS, TABLE_COLUMNS, indices_of
from pe_inspect.analysis.structure.map_indices import half_radius, map_indices
from pe_inspect.analysis.structure.offset_profile import by_distance, pair_counts
from pe_inspect.analysis.structure.table_indices import principal_components
from pe_inspect.kinds.affinity import cosines

GRID = (3, 4)
PLACES = list(itertools.product(range(3), range(4)))
PAIRS = [(i, j) for i in range(12) for j in range(12) if i != j]


def cosine_map(table):
    return cosines(np.asarray(table, np.float32)).map(None)


def row_of(table, grid, **options):
    table = np.asarray(table, np.float32)
    return indices_of(cosine_map(table), grid, table, **options).row()


def noise(rows=12, channels=5, seed=0):
    return np.random.default_rng(seed).normal(size=(rows, channels)).astype(np.float32)


def sincos(positions, channels):
    angles = np.outer(positions, 1e4 ** (-np.arange(channels // 2) / (channels // 2)))
    return np.concatenate([np.sin(angles), np.cos(angles)], axis=1)


def plane(grid, channels):
    """The two-dimensional sin-cos table: half of its channels for each axis."""
    y, x = np.indices(grid).reshape(2, -1)
    return np.concatenate([sincos(x, channels // 2), sincos(y, channels // 2)], axis=1)


def offset(i, j):
    return PLACES[j][0] - PLACES[i][0], PLACES[j][1] - PLACES[i][1]


def test_a_map_by_offset_is_the_mean_over_pairs_key_from_query():
    bias = np.random.default_rng(0).normal(size=(12, 12)).astype(np.float32)
    profile = map_indices(bias, GRID).profile

    for dy, dx in itertools.product(range(-2, 3), range(-3, 4)):
        values = [bias[i, j] for i in range(12) for j in range(12) if offset(i, j) == (dy, dx)]
        assert profile.mean[2 + dy, 3 + dx] == pytest.approx(np.mean(values))
    assert np.array_equal(profile.counts, pair_counts(GRID))


def test_the_translation_share_is_what_the_offset_explains():
    bias = np.random.default_rng(1).normal(size=(12, 12)).astype(np.float32)
    found = map_indices(bias, GRID)
    means = {
        o: np.mean([bias[p] for p in PAIRS if offset(*p) == o]) for o in {offset(*p) for p in PAIRS}
    }
    values = np.array([bias[p] for p in PAIRS])
    left = values - [means[offset(*p)] for p in PAIRS]

    assert found.translation_share == pytest.approx(1 - left.var() / values.var(), abs=1e-6)
    assert found.profile.floor == pytest.approx((17 - 1) / (66 - 1))


def test_ssdc_is_the_rank_correlation_with_nearness_over_pairs_once():
    values = cosine_map(np.round(noise(), 1))  # with ties
    values[2, 3] = values[3, 2] = values[0, 1] = values[1, 0]
    once = list(itertools.combinations(range(12), 2))
    apart = np.array([offset(*pair) for pair in once])
    flat = [values[pair] for pair in once]

    found = map_indices(values, GRID)

    assert found.ssdc_l1 == pytest.approx(spearmanr(flat, -np.abs(apart).sum(1))[0], abs=1e-9)
    assert found.ssdc_l2 == pytest.approx(spearmanr(flat, -np.hypot(*apart.T))[0], abs=1e-9)


def test_undefined_pairs_are_left_out_of_every_index_of_the_map():
    values = cosine_map(noise())
    values[5] = values[:, 5] = np.nan
    once = [(i, j) for i, j in itertools.combinations(range(12), 2) if 5 not in (i, j)]
    apart = np.array([offset(*pair) for pair in once])

    found = map_indices(values, GRID)

    expected = spearmanr([values[p] for p in once], -np.abs(apart).sum(1))[0]
    assert found.ssdc_l1 == pytest.approx(expected, abs=1e-9)
    assert all(map(np.isfinite, (found.translation_share, found.monotone_share)))


def test_the_half_radius_lies_between_exact_distances():
    mean = np.array([[0.2, 0.1, 0.2], [0.5, 1.0, 0.5], [0.2, 0.1, 0.2]])  # 0: 1, 1: 0.3, √2: 0.2
    counts = np.ones((3, 3))

    distance, value = by_distance(mean, counts)

    assert distance.tolist() == pytest.approx([0, 1, 2**0.5])
    assert value.tolist() == pytest.approx([1, 0.3, 0.2])
    assert half_radius(mean, counts) == pytest.approx((1 - 0.6) / (1 - 0.3))


def test_a_map_that_is_not_greatest_at_the_patch_itself_has_no_half_radius():
    mean = np.array([[0.2, 0.1, 0.2], [3.0, 1.0, 3.0], [0.2, 0.1, 0.2]])
    assert math.isnan(half_radius(mean, np.ones((3, 3))))


def test_steps_outward_are_counted_along_the_four_rays_of_every_query():
    values = cosine_map(noise(seed=3))
    falls = []
    for (row, column), (dy, dx) in itertools.product(PLACES, [(0, 1), (0, -1), (1, 0), (-1, 0)]):
        query, at = row * 4 + column, (row, column)
        while (after := (at[0] + dy, at[1] + dx)) in PLACES:
            falls.append(values[query, PLACES.index(after)] < values[query, PLACES.index(at)])
            at = after

    assert map_indices(values, GRID).monotone_share == pytest.approx(np.mean(falls))


def test_mirror_images_and_the_transpose_leave_out_offset_0():
    bias = np.random.default_rng(4).normal(size=(12, 12)).astype(np.float32)
    found = map_indices(bias, GRID)
    mean = found.profile.mean
    other = [o for o in np.ndindex(5, 7) if o != (2, 3)]
    common = [(dy, dx) for dy in range(-2, 3) for dx in range(-2, 3) if (dy, dx) != (0, 0)]

    down = pearsonr([mean[o] for o in other], [mean[4 - o[0], o[1]] for o in other])[0]
    turned = pearsonr(
        [mean[2 + y, 3 + x] for y, x in common], [mean[2 + x, 3 + y] for y, x in common]
    )[0]

    assert found.mirror[0] == pytest.approx(down)
    assert found.transpose == pytest.approx(turned)


def test_a_symmetric_map_has_one_mirror_number():
    row = row_of(noise(), GRID)
    assert row["mirror_x"] == pytest.approx(row["mirror_y"])


def test_rows_columns_and_interaction_share_the_centred_table():
    table = noise(seed=5).astype(np.float64).reshape(*GRID, 5)
    centred = table - table.mean((0, 1))
    rows, columns = centred.mean(1, keepdims=True), centred.mean(0, keepdims=True)
    whole = (centred**2).sum()

    row = row_of(table.reshape(12, 5), GRID)

    assert row["row_share"] == pytest.approx(4 * (rows**2).sum() / whole)
    assert row["column_share"] == pytest.approx(3 * (columns**2).sum() / whole)
    left = ((centred - rows - columns) ** 2).sum()
    assert row["interaction_share"] == pytest.approx(left / whole)


def test_a_function_of_the_row_plus_one_of_the_column_has_no_interaction():
    rows, columns = noise(3, seed=6), noise(4, seed=7)
    table = (rows[:, None] + columns[None]).reshape(12, 5)
    assert row_of(table, GRID)["interaction_share"] == pytest.approx(0, abs=1e-9)


def test_the_effective_rank_is_of_the_centred_principal_components():
    table = noise(seed=8) + 3
    share = np.linalg.svd(table - table.mean(0), compute_uv=False).astype(np.float64) ** 2
    share /= share.sum()

    assert row_of(table, GRID)["effective_rank"] == pytest.approx(
        np.exp(-(share * np.log(share)).sum()), rel=1e-5
    )


@pytest.mark.parametrize("shape", [(12, 5), (5, 12)])
def test_principal_components_are_those_of_the_singular_value_decomposition(shape):
    table = noise(*shape, seed=9)
    left, values, _ = np.linalg.svd(table - table.mean(0), full_matrices=False)

    spectrum, maps = principal_components(table, 3)

    assert spectrum[:4] == pytest.approx((values**2 / (values**2).sum())[:4], rel=1e-4)
    expected = (left * values / np.linalg.norm(values)).T[:3]
    assert np.abs(maps) == pytest.approx(np.abs(expected), abs=1e-5)
    assert all(one[np.abs(one).argmax()] > 0 for one in maps)


@pytest.mark.parametrize(
    ("table", "ssdc", "rank"),
    [
        (plane((14, 14), 192), (0.921, 0.829), 8.15),
        (sincos(np.arange(196), 192), (0.664, 0.628), 27.8),
        (np.random.default_rng(0).normal(size=(196, 192)), (0.0, 0.0), 117.2),
    ],
    ids=["2-D sin-cos", "1-D sin-cos", "random"],
)
def test_known_tables_have_their_published_numbers(table, ssdc, rank):
    row = row_of(table, (14, 14))

    assert row["ssdc_l1"] == pytest.approx(ssdc[0], abs=1e-3 if ssdc[0] else 0.02)
    assert row["ssdc_l2"] == pytest.approx(ssdc[1], abs=1e-3 if ssdc[1] else 0.02)
    assert row["effective_rank"] == pytest.approx(rank, rel=5e-3)


def test_real_weights_have_the_numbers_of_an_independent_program():
    patches, grid = dinov2().tables[0].patches, dinov2().grid_size
    row = row_of(patches, grid)

    expected = {
        "translation_share": 0.8809,
        "ssdc_l1": 0.6564,
        "ssdc_l2": 0.5429,
        "half_radius": 7.418,
        "effective_rank": 14.671,
        "row_share": 0.4787,
        "column_share": 0.4900,
        "monotone_share": 0.6898,
    }
    assert {name: row[name] for name in expected} == pytest.approx(expected, abs=1e-3)


def test_real_weights_on_another_grid_have_the_numbers_of_an_independent_program():
    result = interpolate(dinov2(), grid=(16, 16), method="hf")
    row = row_of(result.values()[0], (16, 16))

    expected = {
        "translation_share": 0.8800,
        "ssdc_l1": 0.6752,
        "ssdc_l2": 0.5621,
        "half_radius": 3.139,
        "effective_rank": 15.121,
        "row_share": 0.4715,
        "column_share": 0.4893,
    }
    assert {name: row[name] for name in expected} == pytest.approx(expected, abs=1e-3)


def test_shuffled_rows_lose_what_they_owe_to_their_places():
    patches = dinov2().tables[0].patches
    shuffled = np.random.default_rng(0).permutation(patches)
    row = row_of(shuffled, dinov2().grid_size)

    assert row["translation_share"] == pytest.approx(0.02, abs=0.02)
    assert row["ssdc_l1"] == pytest.approx(0, abs=0.02)


def test_one_strong_channel_decides_the_table_as_it_decides_its_sums():
    pe = strong((5, 3))
    row = row_of(pe.tables[0].patches, (5, 3))
    centred = pe.tables[0].patches.astype(np.float64) - pe.tables[0].patches.mean(0)
    share = np.linalg.svd(centred, compute_uv=False) ** 2
    share /= share.sum()

    assert row["effective_rank"] == pytest.approx(np.exp(-(share * np.log(share)).sum()), rel=1e-4)


@pytest.mark.parametrize("value", [0.0, 0.3, -7.0])
def test_a_constant_table_has_no_index(value):
    assert all(map(math.isnan, row_of(np.full((12, 5), value), GRID).values()))


def test_a_constant_bias_has_no_index():
    row = indices_of(np.full((12, 12), 8.0, np.float32), GRID).row()
    assert all(map(math.isnan, row.values()))


def test_a_single_patch_has_no_index():
    assert all(map(math.isnan, row_of(noise(1), (1, 1)).values()))


@pytest.mark.parametrize("grid", [(1, 12), (12, 1)])
def test_one_row_or_column_has_no_share_no_transpose_and_no_mirror_image(grid):
    row = row_of(noise(), grid)
    missing = {"row_share", "column_share", "interaction_share", "transpose"}

    assert {name for name, value in row.items() if math.isnan(value)} == {
        *missing,
        "mirror_x",
        "mirror_y",
        *({"half_radius"} if math.isnan(row["half_radius"]) else ()),
    }


def test_a_row_that_is_not_finite_leaves_the_shares_undefined():
    table = noise()
    table[4] = np.nan
    row = row_of(table, GRID)

    assert math.isnan(row["row_share"] + row["interaction_share"])
    assert np.isfinite(row["effective_rank"])


def test_a_table_without_a_finite_row_has_no_index():
    assert all(map(math.isnan, row_of(np.full((12, 5), np.nan), GRID).values()))


def test_a_map_without_vectors_has_no_index_of_a_table():
    row = indices_of(cosine_map(noise()), GRID).row()
    assert list(row) == list(COLUMNS)
    assert all(math.isnan(row[name]) for name in TABLE_COLUMNS)


def test_frames_are_an_axis_of_their_own():
    rows, frames, columns = noise(3, seed=1), 2 * noise(2, seed=2), noise(4, seed=3)
    table = (rows[:, None, None] + frames[None, :, None] + columns).reshape(24, 5)

    row = row_of(table, (3, 8), num_frames=2)

    assert row["row_share"] + row["column_share"] + row["time_share"] == pytest.approx(1)
    assert row["interaction_share"] == pytest.approx(0, abs=1e-9)
    assert row["mirror_t"] == pytest.approx(map_indices(cosine_map(table), (3, 2, 4)).mirror[1])


def test_hierarchy_is_one_less_the_mean_correlation_of_all_pairs_of_layers():
    maps = [cosine_map(noise(seed=seed)) for seed in range(3)]
    off = ~np.eye(12, dtype=bool)
    expected = [pearsonr(a[off], b[off])[0] for a, b in itertools.combinations(maps, 2)]

    found = layer_correlations([off_diagonal(each) for each in maps])

    assert hierarchy(found) == pytest.approx(1 - np.mean(expected), abs=1e-6)
    assert hierarchy(found[:1, :1]) != hierarchy(found[:1, :1])  # one layer: undefined


def test_layers_of_different_grids_are_not_correlated():
    maps = [off_diagonal(cosine_map(noise(rows))) for rows in (12, 12, 15)]
    assert np.isfinite(layer_correlations(maps)).sum() == 2


def test_of_a_large_grid_evenly_spaced_queries_are_kept():
    assert len(kept_queries(1369)) == 1369
    queries = kept_queries(4096)
    assert len(queries) == 512
    assert set(np.diff(queries)) == {8}
