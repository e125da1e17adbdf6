"""What resampling did to a table, in numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, TypeAlias

import numpy as np

from pe_inspect.analysis.common.numbers import mean_of, pearson
from pe_inspect.analysis.interpolate.by_products import ByProducts
from pe_inspect.analysis.interpolate.directions import MAX_QUERIES
from pe_inspect.analysis.interpolate.spectrum import high_share
from pe_inspect.analysis.interpolate.two_grids import TableOnTwoGrids, border, row_norms
from pe_inspect.arrays import Float

__all__ = ["DEFINITIONS", "MAX_QUERIES", "measured"]

Lagged: TypeAlias = Callable[[int, int], np.ndarray]
"""(axis, lag) → the cosines of the rows that lie so far apart."""

DEFINITIONS: Final[Mapping[str, str]] = {
    "norm_before": "mean L2 norm of a row of the source table",
    "norm_after": "mean L2 norm of a row of the resampled table",
    "norm_ratio": "norm_after / norm_before",
    "norm_ratio_border": "the same ratio, of the outermost rings of patches only; of a single "
    "row, of its two ends",
    "norm_ratio_interior": "the same, of all other patches; undefined where there are none",
    "low_norm_share": "share of the resampled rows that are shorter than every source row",
    "neighbour_cosine_before": "mean cosine of positions one patch apart along a row or a column, "
    "the larger of the source and the target patch being the distance in both tables",
    "neighbour_cosine_after": "the same in the resampled table, at the same distance on the image",
    "structure_correlation": "Pearson correlation of the source's cosine map with that of the "
    "target patches that cover the source patches' centres, diagonal left out",
    "high_frequency_before": "share of the source's variation over positions (Fourier power, mean "
    "left out) at or above half of the highest frequency that the source grid can hold",
    "high_frequency_after": "the share of the resampled table's, above the same cycles per image",
    "round_trip_error": "‖back − source‖ / ‖source‖, back being resampled once more to the source "
    "grid by the same method",
    "round_trip_cosine": "mean cosine of a source row with the row that comes back",
    "round_trip_correlation": "Pearson correlation of the source's cosine map with the map of what "
    "comes back, diagonal left out",
    "error_border": "mean over the outermost ring of patches (of a single row, its two ends) of "
    "‖back − source‖ / mean ‖source‖",
    "error_interior": "the same over all other patches; undefined where there are none",
    "difference_to_native": "‖resampled − native‖ / ‖native‖, native being the table as resampled "
    "by the rule of the embedding's own family",
    "num_missing": "values of the resampled table that are NaN",
}
"""What each of a resampled table's measures is. For a bias, positions are offsets (Δy, Δx), a row
is one offset's value in every head, and the values themselves stand for the cosine map. Where
positions are offsets, cycles are counted over their table, which is twice the image less one. For
phases, a row is the cosines and sines of all angles, so that its cosine is their mean affinity."""


def measured(table: TableOnTwoGrids) -> dict[str, float]:
    """Every measure that the table's kind has, in the order of `DEFINITIONS`."""
    found = {
        **_norms(table),
        **_structure(table),
        **({} if table.kind.holds_angles else _spectrum(table)),
        **_round_trip(table),
        "difference_to_native": _difference(table),
        "num_missing": _missing(table),
    }
    return {name: found[name] for name in DEFINITIONS if name in found}


def _norms(table: TableOnTwoGrids) -> dict[str, float]:
    before, after = table.norms_before, table.norms_after
    rings = [border(*norms.shape) for norms in (before, after)]
    shortest = before[np.isfinite(before)].min(initial=np.inf)
    return {
        "norm_before": mean_of(before),
        "norm_after": mean_of(after),
        "norm_ratio": _ratio(mean_of(after), mean_of(before)),
        "norm_ratio_border": _ratio(mean_of(after[rings[1]]), mean_of(before[rings[0]])),
        "norm_ratio_interior": _ratio(mean_of(after[~rings[1]]), mean_of(before[~rings[0]])),
        "low_norm_share": float(np.mean(after < shortest * (1 - 1e-5))),
    }


def _ratio(over: float, under: float) -> float:
    return over / under if under > 0 else float("nan")


def _structure(table: TableOnTwoGrids) -> dict[str, float]:
    if table.is_bias:
        covered = table.after[np.ix_(*table.covering)]
        return {
            "structure_correlation": pearson(table.before, covered),
            "round_trip_correlation": pearson(table.before, table.back),
        }
    source, found = table.source, table.measured_from
    coarse = [min(sides) for sides in zip(source.sides, table.size)]
    return {
        "neighbour_cosine_before": source.once(
            ("neighbours", *coarse),
            lambda: _neighbours(source.directions.lagged, source.sides, coarse),
        ),
        "neighbour_cosine_after": _neighbours(found.lagged, table.size, coarse),
        "structure_correlation": pearson(source.query_map, found.query_map),
        "round_trip_correlation": pearson(source.query_map, found.query_map_back),
    }


def _neighbours(lagged: Lagged, sides: Sequence[int], coarse: Sequence[int]) -> float:
    """Mean cosine along both axes, one coarse patch apart; NaN where no two are that far apart."""
    found = [_cosine_at(lagged, axis, *each) for axis, each in enumerate(zip(sides, coarse))]
    return mean_of(np.array(found))


def _cosine_at(lagged: Lagged, axis: int, side: int, coarse: int) -> float:
    """Mean cosine along an axis at a distance; between whole lags, linear."""
    lag = side / coarse
    below = int(lag)
    part = lag - below
    lags = [below, below + 1] if part else [below]
    found = [mean_of(lagged(axis, each)) if each < side else float("nan") for each in lags]
    return found[0] + part * (found[-1] - found[0])


def _spectrum(table: TableOnTwoGrids) -> dict[str, float]:
    sides = [side for side in table.before.shape[:2] if side > 1] or [1]
    above = min(sides) / 4
    return {
        "high_frequency_before": high_share(table.source.power, above),
        "high_frequency_after": high_share(table.power, above),
    }


def _round_trip(table: TableOnTwoGrids) -> dict[str, float]:
    errors, norms = table.error_map, table.norms_before
    ring = border(*errors.shape)
    return {
        "round_trip_error": _relative(errors * np.float32(table.source.mean_norm), norms),
        "round_trip_cosine": mean_of(table.measured_from.cosines_back),
        "error_border": mean_of(errors[ring]),
        "error_interior": mean_of(errors[~ring]),
    }


def _difference(table: TableOnTwoGrids) -> float:
    if table.native is None:
        return 0.0
    own, native = table.measured_from, table.native.measured_from
    if isinstance(own, ByProducts) and isinstance(native, ByProducts):
        return own.distance(native)
    lost = row_norms(table.features - table.native.features)
    return _relative(lost, table.native.norms_after)


def _relative(
    lost: Float[np.ndarray, "rows columns"], norms: Float[np.ndarray, "rows columns"]
) -> float:
    """‖lost‖ / ‖reference‖ from the norms of their rows, over the rows that are finite in both."""
    both = np.isfinite(lost) & np.isfinite(norms)
    over, under = (float(np.linalg.norm(x[both].astype(np.float64))) for x in (lost, norms))
    return over / under if under > 0 else float("nan")


def _missing(table: TableOnTwoGrids) -> float:
    """How many values are NaN; rows of finite norm have none."""
    incomplete = ~np.isfinite(table.norms_after)
    return float(np.isnan(table.after[incomplete]).sum()) if incomplete.any() else 0.0
