"""What resampling did to a table, in numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, TypeAlias

import numpy as np

from pe_inspect.analysis.common.numbers import mean_of, pearson, weighted_mean
from pe_inspect.analysis.interpolate.by_products import ByProducts
from pe_inspect.analysis.interpolate.spectrum import high_share
from pe_inspect.analysis.interpolate.two_grids import TableOnTwoGrids, border, row_norms
from pe_inspect.arrays import Float

__all__ = ["DEFINITIONS", "Measures", "defined_over", "measured", "pooled"]

Lagged: TypeAlias = Callable[[int, int], np.ndarray]
"""(axis, lag) → the cosines of the rows that lie so far apart."""
Measures: TypeAlias = Mapping[str, float]

_BEFORE: Final = ("norm_before", "norm_ratio_border_before", "norm_ratio_interior_before")
_AFTER: Final = ("norm_ratio", "norm_ratio_border", "norm_ratio_interior")
_LOST: Final = ("round_trip_error", "error_border", "error_interior")
"""A mean over all rows, over the border and over the interior: the first is that of the others."""
_OVER_ROWS: Final = frozenset(
    {*_BEFORE, *_AFTER, *_LOST, "norm_after", "low_norm_share", "round_trip_cosine"}
)

DEFINITIONS: Final[Mapping[str, str]] = {
    "norm_before": "mean L2 norm of a row of the source table",
    "norm_after": "mean L2 norm of a row of the resampled table",
    "norm_ratio": "mean over all rows of the resampled table of ‖row‖ / norm_before: of one table "
    "norm_after / norm_before",
    "norm_ratio_border": "the same mean over its outermost ring of patches only; of a single row, "
    "over its two ends",
    "norm_ratio_interior": "the same over all its other patches; undefined where there are none. "
    "norm_ratio is the mean of the two, weighted by their numbers of patches",
    "norm_ratio_border_before": "mean over the source's outermost ring of ‖row‖ / norm_before: "
    "what norm_ratio_border is of a table that is left as it was",
    "norm_ratio_interior_before": "the same over all its other patches",
    "low_norm_share": "share of the resampled rows that are shorter than every source row",
    "neighbour_cosine_before": "mean cosine of positions one patch apart along a row or a column, "
    "over all such pairs; the larger of the source and the target patch is the distance in both "
    "tables, between whole numbers of patches linearly",
    "neighbour_cosine_after": "the same in the resampled table, at the same distance on the image",
    "structure_correlation": "Pearson correlation of the source's cosine map with that of the "
    "target patches that cover the source patches' centres, diagonal left out",
    "high_frequency_before": "share of the source's variation over positions (Fourier power summed "
    "over all channels, mean left out) at or above half of the highest frequency that the shorter "
    "side of the source grid can hold",
    "high_frequency_after": "the share of the resampled table's, above the same cycles per image",
    "round_trip_error": "mean over all rows of ‖back − source‖ / norm_before, back being the row "
    "that comes back when the table is resampled once more to the source grid by the same method",
    "round_trip_cosine": "mean cosine of a source row with the row that comes back",
    "round_trip_correlation": "Pearson correlation of the source's cosine map with the map of what "
    "comes back, diagonal left out",
    "error_border": "the mean that round_trip_error is, over the outermost ring of patches only; "
    "of a single row, over its two ends",
    "error_interior": "the same over all other patches; undefined where there are none. "
    "round_trip_error is the mean of the two, weighted by their numbers of patches",
    "difference_to_native": "‖resampled − native‖ / ‖native‖ over the whole table, native being "
    "the table as resampled by the rule of the embedding's own family",
    "num_missing": "values of the resampled table that are NaN",
}
"""What each of a resampled table's measures is. For a bias, positions are offsets (Δy, Δx), a row
is one offset's value in every head, and the values themselves stand for the cosine map. Where
positions are offsets, cycles are counted over their table, which is twice the image less one. For
phases, a row is the cosines and sines of all angles, so that its cosine is their mean affinity.

Over several tables, means over rows are over the rows of all of them, each in units of its own
table's norm_before; correlations, cosines of pairs and shares of variation are means over tables.
"""


_OF_BIAS: Final[Mapping[str, str]] = {
    "norm_before": "mean over the source's offsets of the L2 norm of an offset's biases over heads",
    "norm_after": "the same of the resampled table",
    "structure_correlation": "Pearson correlation of the source's biases with those of the target "
    "offsets that cover the source offsets' centres, over offsets and heads",
    "round_trip_correlation": "Pearson correlation of the source's biases with those that come "
    "back, over offsets and heads",
}


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


def defined_over(name: str, tables: int, *, is_bias: bool) -> str:
    """The definition of a measure, and how that of several tables is put together."""
    text = {**DEFINITIONS, **(_OF_BIAS if is_bias else {})}[name]
    if tables == 1:
        return text
    if name == "num_missing":
        return f"{text}; the sum over {tables} tables"
    how = "over the rows of all" if name in _OVER_ROWS else "the mean over"
    return f"{text}; {how} {tables} tables"


def pooled(tables: Sequence[TableOnTwoGrids], measures: Sequence[Measures]) -> dict[str, float]:
    """The measures of several tables as one: means over the rows of all, or over tables.

    Args:
        tables: what was measured.
        measures: theirs, in the same order.
    """
    rows = [_numbers_of_rows(table) for table in tables]
    found = {
        name: weighted_mean(
            np.array([each[name] for each in measures]),
            np.array([counts.get(name, 1) for counts in rows]),
        )
        for name in measures[0]
    }
    return {**found, "num_missing": sum(each["num_missing"] for each in measures)}


def _numbers_of_rows(table: TableOnTwoGrids) -> dict[str, int]:
    """Over how many rows each of a table's means is."""
    before, after, lost = table.norms_before, table.norms_after, table.error_map
    return {
        **dict(zip(_BEFORE, _counts(before))),
        **dict(zip(_AFTER, _counts(after))),
        "norm_after": _counts(after)[0],
        "low_norm_share": after.size,
        **dict(zip(_LOST, _counts(lost))),
        "round_trip_cosine": _counts(table.measured_from.cosines_back)[0],
    }


def _counts(values: Float[np.ndarray, "rows columns"]) -> tuple[int, int, int]:
    """How many values `_parts` averages."""
    known, ring = np.isfinite(values), border(*values.shape)
    whole, outer = (int(np.count_nonzero(each)) for each in (known, known & ring))
    return whole, outer, whole - outer


def _parts(values: Float[np.ndarray, "rows columns"]) -> tuple[float, float, float]:
    """The mean of all, of the outermost ring, and of all others."""
    ring = border(*values.shape)
    return mean_of(values), mean_of(values[ring]), mean_of(values[~ring])


def _norms(table: TableOnTwoGrids) -> dict[str, float]:
    before, after = table.norms_before, table.norms_after
    unit = mean_of(before)
    shortest = before[np.isfinite(before)].min(initial=np.inf)
    ratios_before, ratios_after = (
        [_ratio(part, unit) for part in _parts(norms)] for norms in (before, after)
    )
    return {
        "norm_before": unit,
        "norm_after": mean_of(after),
        **dict(zip(_AFTER, ratios_after)),
        **dict(zip(_BEFORE[1:], ratios_before[1:])),
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
        "structure_correlation": source.cosine_map.correlation(found.query_map),
        "round_trip_correlation": source.cosine_map.correlation(found.query_map_back),
    }


def _neighbours(lagged: Lagged, sides: Sequence[int], coarse: Sequence[int]) -> float:
    """Mean cosine of pairs one coarse patch apart on an axis; NaN where no two are that far apart.

    Of each axis there are (side − side/coarse) · other side pairs: 1 − 1/coarse of the places.
    """
    found = [_cosine_at(lagged, axis, *each) for axis, each in enumerate(zip(sides, coarse))]
    return weighted_mean(np.array(found), 1 - 1 / np.array(coarse))


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
    return {
        **dict(zip(_LOST, _parts(table.error_map))),
        "round_trip_cosine": mean_of(table.measured_from.cosines_back),
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
