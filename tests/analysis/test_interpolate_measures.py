"""What resampling does to a table, in the measures of `interpolate`."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from analysis.made import GRID, vectors
from closeness import ROUNDING, assert_close

from pe_inspect.analysis.interpolate import interpolate
from pe_inspect.analysis.interpolate.measures import DEFINITIONS
from pe_inspect.kinds.position_embedding import LayerPE, PositionEmbedding


@pytest.mark.parametrize(
    ("method", "ratio"), [("bilinear", 0.68), ("bicubic", 0.86), ("bicubic-aa", 0.82)]
)
def test_independent_rows_shrink_by_the_measured_ratios(method, ratio):
    values = np.random.default_rng(0).standard_normal((196, 192))
    pe = PositionEmbedding("x", "vectors", "input", (LayerPE("input", values, (14, 14)),))

    found = interpolate(pe, grid=(24, 24), method=method).summary()["norm_ratio"]

    assert found == pytest.approx(ratio, abs=0.006)


def test_the_round_trip_is_measured_against_the_table_itself():
    pe = vectors(prefix=0)
    there = interpolate(pe, grid=(4, 7), method="bilinear").embedding()
    back = interpolate(there, grid=GRID, method="bilinear").values()[0]
    source = pe.tables[0].values

    table = interpolate(pe, grid=(4, 7), method="bilinear").tables()[0]

    errors = np.linalg.norm(back - source, axis=1).reshape(GRID)
    errors = errors / np.linalg.norm(source, axis=1).mean()
    cosine = torch.nn.functional.cosine_similarity(torch.tensor(back), torch.tensor(source))
    interior = np.zeros(GRID, dtype=bool)
    interior[1, 1:4] = True
    assert_close(table.error_map, errors, operations=32)
    assert table.measures["error_interior"] == pytest.approx(errors[interior].mean(), rel=1e-5)
    assert table.measures["error_border"] == pytest.approx(errors[~interior].mean(), rel=1e-5)
    assert table.error_by_ring == pytest.approx([errors[~interior].mean(), errors[interior].mean()])
    assert table.measures["round_trip_cosine"] == pytest.approx(float(cosine.mean()), rel=1e-5)
    assert table.measures["round_trip_error"] == pytest.approx(errors.mean(), rel=1e-5)


@pytest.mark.parametrize("magnitude", [1e-30, 1e30, 1e37])
def test_no_magnitude_changes_what_is_a_ratio(magnitude):
    pe = vectors()
    (table,) = pe.tables
    scaled = replace(pe, tables=(replace(table, values=table.values * np.float32(magnitude)),))
    plain = interpolate(pe, grid=(6, 7)).summary()

    found = interpolate(scaled, grid=(6, 7)).summary()

    for name in ("norm_before", "norm_after"):
        assert found.pop(name) == pytest.approx(plain.pop(name) * magnitude, rel=1e-5)
    assert found == pytest.approx(plain, rel=1e-4, nan_ok=True)


def test_neighbours_are_compared_at_the_same_distance_on_the_image():
    pe = vectors(prefix=0)
    result = interpolate(pe, grid=(6, 10), method="bilinear")
    before = torch.tensor(pe.tables[0].values).reshape(3, 5, -1)
    after = torch.tensor(result.values()[0]).reshape(6, 10, -1)

    def likeness(grid, lag):
        def cosines(x, y):
            return torch.nn.functional.cosine_similarity(x, y, dim=-1)

        whole = cosines(grid[lag:], grid[:-lag]), cosines(grid[:, lag:], grid[:, :-lag])
        return float(torch.cat([each.ravel() for each in whole]).mean())

    measures = result.summary()
    assert measures["neighbour_cosine_before"] == pytest.approx(likeness(before, 1), abs=ROUNDING)
    assert measures["neighbour_cosine_after"] == pytest.approx(likeness(after, 2), abs=ROUNDING)


def test_structure_is_compared_at_the_patches_that_cover_the_old_centres():
    pe = vectors(prefix=0)
    result = interpolate(pe, grid=(9, 10), method="bicubic")
    matched = result.values()[0].reshape(9, 10, -1)[1::3][:, [1, 3, 5, 7, 9]].reshape(15, -1)

    def pairs(rows):
        rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        return (rows @ rows.T)[~np.eye(len(rows), dtype=bool)]

    expected = np.corrcoef(pairs(pe.tables[0].values), pairs(matched))[0, 1]
    assert result.summary()["structure_correlation"] == pytest.approx(expected, abs=ROUNDING)


@pytest.mark.parametrize("grid_size", [(1, 2), (1, 1), (2, 2), (2, 5)])
def test_thin_grids_have_no_interior_and_nothing_breaks(grid_size):
    summary = interpolate(vectors(grid_size=grid_size), grid=(2, 3), method="all").summary()

    assert np.isnan(summary["error_interior"])
    assert np.isfinite(summary["error_border"])
    assert set(summary) == set(DEFINITIONS)


@pytest.mark.parametrize("grid_size", [(1, 7), (6, 1)])
def test_the_border_of_a_single_row_is_its_two_ends(grid_size):
    result = interpolate(vectors(grid_size=grid_size), grid=(2, 3), method="all")
    summary, errors = result.summary(), result.tables()[0].error_map.ravel()

    assert summary["error_border"] == pytest.approx((errors[0] + errors[-1]) / 2, rel=1e-5)
    assert summary["error_interior"] == pytest.approx(errors[1:-1].mean(), rel=1e-5)
    assert set(summary) == set(DEFINITIONS)


def test_a_zero_table_has_no_ratio_and_no_direction():
    pe = PositionEmbedding("x", "vectors", "input", (LayerPE("input", np.zeros((15, 4)), GRID),))

    summary = interpolate(pe, grid=(4, 4)).summary()

    assert summary["norm_after"] == 0
    assert np.isnan(summary["norm_ratio"])
    assert np.isnan(summary["round_trip_cosine"])


@pytest.mark.parametrize("method", ["bilinear", "bicubic"])
def test_what_float32_does_not_hold_is_not_finite_and_warns_of_nothing(method):
    signs = np.random.default_rng(0).choice([-1, 1], size=(15, 4))
    values = (signs * 3.3e38).astype(np.float32)
    pe = PositionEmbedding("x", "vectors", "input", (LayerPE("input", values, GRID),))

    (table,) = interpolate(pe, grid=(6, 10), method=method).tables()

    assert np.isinf(table.norms_before).all()
    assert np.isfinite(table.after).all() == (method == "bilinear")


def test_values_that_draw_on_nan_are_nan_counted_and_said():
    pe = vectors(prefix=0)
    values = pe.tables[0].values.copy()
    values[0, 0] = np.nan
    pe = replace(pe, tables=(replace(pe.tables[0], values=values),))

    result = interpolate(pe, grid=(6, 10), method="bilinear")

    missing = int(np.isnan(result.values()).sum())
    assert missing == 9  # rows 0–2 of 6 and columns 0–2 of 10 draw on the corner
    assert result.summary()["num_missing"] == missing
    assert np.isfinite(result.summary()["norm_after"])
    assert any(f"{missing} values of bilinear are NaN" in note for note in result.notes)
