"""What resampling did to a table, in numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from pe_inspect._typing import Float32
from pe_inspect.analysis._numbers import mean_of, pearson
from pe_inspect.analysis._resampled import (
    ResampledTable,
    border,
    covering,
    row_norms,
)
from pe_inspect.analysis._spectrum import high_share

__all__ = ["DEFINITIONS", "MAX_QUERIES", "measured"]

DEFINITIONS: Final[Mapping[str, str]] = {
    "norm_before": "mean L2 norm of a row of the source table",
    "norm_after": "mean L2 norm of a row of the resampled table",
    "norm_ratio": "norm_after / norm_before",
    "norm_ratio_border": "the same ratio, of the outermost rings of patches only",
    "norm_ratio_interior": "the same, of all other patches; undefined for grids under 3 patches",
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
    "error_border": "mean over the outermost ring of patches of ‖back − source‖ / mean ‖source‖",
    "error_interior": "the same over all other patches; undefined for grids under 3 patches wide",
    "difference_to_native": "‖resampled − native‖ / ‖native‖, native being the table as resampled "
    "by the rule of the embedding's own family",
    "num_missing": "values of the resampled table that are NaN",
}
"""What each of a resampled table's measures is. For a bias, positions are offsets (Δy, Δx), a row
is one offset's value in every head, and the values themselves stand for the cosine map. For
phases, a row is the cosines and sines of all angles, so that its cosine is their mean affinity."""

MAX_QUERIES: Final = 128


def measured(table: ResampledTable) -> dict[str, float]:
    """Every measure that the table's kind has, in the order of `DEFINITIONS`."""
    found = {
        **_norms(table),
        **_structure(table),
        **({} if table.kind == "phases" else _spectrum(table)),
        **_round_trip(table),
        "difference_to_native": _difference(table),
        "num_missing": _missing(table),
    }
    return {name: found[name] for name in DEFINITIONS if name in found}


def _norms(table: ResampledTable) -> dict[str, float]:
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


def _structure(table: ResampledTable) -> dict[str, float]:
    before, after = table.before, table.after
    places = tuple(covering(n, m) for n, m in zip(before.shape[:2], after.shape[:2]))
    if table.is_bias:
        return {
            "structure_correlation": pearson(before, after[np.ix_(*places)]),
            "round_trip_correlation": pearson(before, table.back),
        }
    coarse = [min(n, m) for n, m in zip(before.shape[:2], after.shape[:2])]
    units = _units(table.source.features, table.norms_before)
    units_after = _units(table.features, table.norms_after)
    back = _units(table.features_back, row_norms(table.features_back))
    maps = _query_map(units)
    return {
        "neighbour_cosine_before": _neighbours(units, coarse),
        "neighbour_cosine_after": _neighbours(units_after, coarse),
        "structure_correlation": pearson(maps, _query_map(units_after[np.ix_(*places)])),
        "round_trip_correlation": pearson(maps, _query_map(back)),
    }


def _units(
    rows: Float32[np.ndarray, "rows columns features"], norms: Float32[np.ndarray, "rows columns"]
) -> Float32[np.ndarray, "rows columns features"]:
    """Rows of length 1, whose products no magnitude overflows; NaN where a row is zero."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(rows / norms[..., None])


def _query_map(
    units: Float32[np.ndarray, "rows columns features"],
) -> Float32[np.ndarray, "queries positions"]:
    """The cosines of evenly spread queries with all positions; a query's own is NaN."""
    rows = units.reshape(-1, units.shape[-1])
    queries = np.arange(0, len(rows), -(-len(rows) // MAX_QUERIES))
    cosines: np.ndarray = rows[queries] @ rows.T
    cosines[np.arange(len(queries)), queries] = np.nan
    return cosines


def _neighbours(
    units: Float32[np.ndarray, "rows columns features"], coarse: Sequence[int]
) -> float:
    """Mean cosine along both axes, one coarse patch apart; NaN where no two are that far apart."""
    axes = zip((units, units.swapaxes(0, 1)), coarse)
    return mean_of(np.array([_cosine_at(along, side) for along, side in axes]))


def _cosine_at(units: Float32[np.ndarray, "first second features"], coarse: int) -> float:
    """Mean cosine along the first axis at a distance; between whole lags, linear."""
    lag = len(units) / coarse
    below = int(lag)
    part = lag - below
    near = _cosine_at_whole(units, below)
    far = _cosine_at_whole(units, below + 1) if part else 0.0
    return (1 - part) * near + part * far


def _cosine_at_whole(units: Float32[np.ndarray, "first second features"], lag: int) -> float:
    rest = len(units) - lag
    if rest < 1:
        return float("nan")
    return mean_of(np.einsum("rcd,rcd->rc", units[lag:], units[:rest]))


def _spectrum(table: ResampledTable) -> dict[str, float]:
    sides = [side for side in table.before.shape[:2] if side > 1] or [1]
    above = min(sides) / 4
    return {
        "high_frequency_before": high_share(table.source.power, above),
        "high_frequency_after": high_share(table.power, above),
    }


def _round_trip(table: ResampledTable) -> dict[str, float]:
    errors, norms, back = table.error_map, table.norms_before, table.features_back
    ring = border(*errors.shape)
    units = (_units(rows, row_norms(rows)) for rows in (back, table.source.features))
    return {
        "round_trip_error": _relative(errors * np.float32(table.source.mean_norm), norms),
        "round_trip_cosine": mean_of(np.einsum("rcd,rcd->rc", *units)),
        "error_border": mean_of(errors[ring]),
        "error_interior": mean_of(errors[~ring]),
    }


def _difference(table: ResampledTable) -> float:
    if table.native is None:
        return 0.0
    lost = row_norms(table.features - table.native.features)
    return _relative(lost, table.native.norms_after)


def _relative(
    lost: Float32[np.ndarray, "rows columns"], norms: Float32[np.ndarray, "rows columns"]
) -> float:
    """‖lost‖ / ‖reference‖ from the norms of their rows, over the rows that are finite in both."""
    both = np.isfinite(lost) & np.isfinite(norms)
    over, under = (float(np.linalg.norm(x[both].astype(np.float64))) for x in (lost, norms))
    return over / under if under > 0 else float("nan")


def _missing(table: ResampledTable) -> float:
    """How many values are NaN; rows of finite norm have none."""
    return float(np.isnan(table.after[~np.isfinite(table.norms_after)]).sum())
