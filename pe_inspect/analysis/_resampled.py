"""One table before and after resampling, and what resampling did to it, in numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from pe_inspect._typing import Bool, Float, Float32, Int
from pe_inspect.analysis._numbers import mean_of, pearson, unit_rows
from pe_inspect.analysis._resampling import Resample

__all__ = ["DEFINITIONS", "ResampledTable", "resample_table"]

DEFINITIONS: Final[Mapping[str, str]] = {
    "norm_before": "mean L2 norm of a row of the source table",
    "norm_after": "mean L2 norm of a row of the resampled table",
    "norm_ratio": "norm_after / norm_before",
    "neighbour_cosine_before": "mean cosine of positions one patch apart along a row or a column, "
    "the larger of the source and the target patch being the distance in both tables",
    "neighbour_cosine_after": "the same in the resampled table, at the same distance on the image",
    "structure_correlation": "Pearson correlation of the source's cosine map with that of the "
    "target patches that cover the source patches' centres, diagonal left out",
    "round_trip_error": "‖back − source‖ / ‖source‖, back being resampled once more to the source "
    "grid by the same method",
    "round_trip_cosine": "mean cosine of a source row with the row that comes back",
    "round_trip_correlation": "Pearson correlation of the source's cosine map with the map of what "
    "comes back, diagonal left out",
    "error_border": "mean over the outermost ring of patches of ‖back − source‖ / mean ‖source‖",
    "error_interior": "the same over all other patches; undefined for grids under 3 patches wide",
    "num_missing": "values of the resampled table that are NaN",
}
"""What each of a resampled table's measures is. For a bias, positions are offsets (Δy, Δx), a row
is one offset's value in every head, and the values themselves stand for the cosine map."""

MAX_QUERIES: Final = 1024


@dataclass(frozen=True, eq=False)
class ResampledTable:
    """A table on the source grid and on the target grid.

    Attributes:
        layer: where it enters.
        before: (H, W, D); for a bias the table of offsets, (2H − 1, 2W − 1, heads).
        after: the same on the target grid.
        error_map: round-trip error of each position of `before`, in units of its mean row norm.
        is_bias: whether positions are offsets.
        measures: the numbers of `DEFINITIONS`.
    """

    layer: str
    before: Float32[np.ndarray, "rows columns channels"]
    after: Float32[np.ndarray, "new_rows new_columns channels"]
    error_map: Float32[np.ndarray, "rows columns"]
    is_bias: bool
    measures: Mapping[str, float]

    @property
    def norms_before(self) -> Float32[np.ndarray, "rows columns"]:
        """The L2 norm of each row of the source table, by position."""
        return _row_norms(self.before)

    @property
    def norms_after(self) -> Float32[np.ndarray, "new_rows new_columns"]:
        """The L2 norm of each row of the resampled table, by position."""
        return _row_norms(self.after)

    @property
    def error_by_ring(self) -> Float[np.ndarray, " rings"]:
        """The mean of `error_map` over each ring of positions, from the edge inwards."""
        rows, columns = self.error_map.shape
        ring = np.minimum(_to_edge(rows)[:, None], _to_edge(columns))
        return np.array([mean_of(self.error_map[ring == k]) for k in range(ring.max() + 1)])


def resample_table(
    layer: str,
    before: Float32[np.ndarray, "rows columns channels"],
    size: tuple[int, int],
    resample: Resample,
    *,
    is_bias: bool = False,
) -> ResampledTable:
    """Resample one table to `size`, and measure it; the same size returns it untouched."""
    rows, columns, _ = before.shape
    same = (rows, columns) == size
    after = before if same else resample(before, size).astype(np.float32)
    back = before if same else resample(after, (rows, columns)).astype(np.float32)
    error_map = _ratio(_row_norms(back - before), mean_of(_row_norms(before)))
    measures = {
        **_norm_measures(before, after),
        **_structure_measures(before, after, back, is_bias=is_bias),
        **_round_trip_measures(before, back, error_map),
        "num_missing": float(np.isnan(after).sum()),
    }
    return ResampledTable(layer, before, after, error_map, is_bias, measures)


def covering(source: int, target: int) -> Int[np.ndarray, " source"]:
    """On one axis, the target patch that covers each source patch's centre."""
    return (2 * np.arange(source) + 1) * target // (2 * source)


def border(rows: int, columns: int) -> Bool[np.ndarray, "rows columns"]:
    """The outermost ring of a grid."""
    ring: np.ndarray = np.minimum(_to_edge(rows)[:, None], _to_edge(columns)) == 0
    return ring


def _to_edge(side: int) -> Int[np.ndarray, " side"]:
    """How many patches lie between each place and the nearer edge."""
    place = np.arange(side)
    return np.minimum(place, side - 1 - place)


def _row_norms(values: Float32[np.ndarray, "*grid channels"]) -> Float32[np.ndarray, "*grid"]:
    norms: np.ndarray = np.linalg.norm(values, axis=-1)
    return norms


def _ratio(values: Float32[np.ndarray, "..."], scale: float) -> Float32[np.ndarray, "..."]:
    relative: np.ndarray = values / np.float32(scale if scale > 0 else np.nan)
    return relative


def _norm_measures(
    before: Float32[np.ndarray, "rows columns channels"],
    after: Float32[np.ndarray, "new_rows new_columns channels"],
) -> dict[str, float]:
    source, target = mean_of(_row_norms(before)), mean_of(_row_norms(after))
    ratio = target / source if source > 0 else float("nan")
    return {"norm_before": source, "norm_after": target, "norm_ratio": ratio}


def _round_trip_measures(
    before: Float32[np.ndarray, "rows columns channels"],
    back: Float32[np.ndarray, "rows columns channels"],
    error_map: Float32[np.ndarray, "rows columns"],
) -> dict[str, float]:
    finite = np.isfinite(back) & np.isfinite(before)
    lost, whole = np.linalg.norm((back - before)[finite]), np.linalg.norm(before[finite])
    ring = border(*error_map.shape)
    cosine = (unit_rows(back) * unit_rows(before)).sum(axis=-1)
    return {
        "round_trip_error": float(lost / whole) if whole > 0 else float("nan"),
        "round_trip_cosine": mean_of(cosine),
        "error_border": mean_of(error_map[ring]),
        "error_interior": mean_of(error_map[~ring]),
    }


def _structure_measures(
    before: Float32[np.ndarray, "rows columns channels"],
    after: Float32[np.ndarray, "new_rows new_columns channels"],
    back: Float32[np.ndarray, "rows columns channels"],
    *,
    is_bias: bool,
) -> dict[str, float]:
    places = (covering(n, m) for n, m in zip(before.shape[:2], after.shape[:2]))
    matched = after[np.ix_(*places)]
    if is_bias:
        return {
            "structure_correlation": pearson(before, matched),
            "round_trip_correlation": pearson(before, back),
        }
    return {
        **_neighbour_measures(before, after),
        "structure_correlation": _map_correlation(before, matched),
        "round_trip_correlation": _map_correlation(before, back),
    }


def _map_correlation(
    x: Float32[np.ndarray, "rows columns channels"],
    y: Float32[np.ndarray, "rows columns channels"],
) -> float:
    """Correlate two tables' cosine maps; of a large grid, the maps of evenly spread queries."""
    x, y = (unit_rows(values.reshape(-1, values.shape[-1])) for values in (x, y))
    step = -(-len(x) // MAX_QUERIES)
    queries = np.arange(0, len(x), step)
    maps = [rows[queries] @ rows.T for rows in (x, y)]
    maps[0][np.arange(len(queries)), queries] = np.nan
    return pearson(*maps)


def _neighbour_measures(
    before: Float32[np.ndarray, "rows columns channels"],
    after: Float32[np.ndarray, "new_rows new_columns channels"],
) -> dict[str, float]:
    tables = {"before": unit_rows(before), "after": unit_rows(after)}
    return {f"neighbour_cosine_{when}": _neighbours(rows, before.shape, after.shape)
            for when, rows in tables.items()}  # fmt: skip


def _neighbours(
    rows: Float[np.ndarray, "rows columns channels"],
    source: tuple[int, ...],
    target: tuple[int, ...],
) -> float:
    """Mean cosine along both axes, one coarse patch apart; NaN where no two are that far apart."""
    coarse = [min(n, m) for n, m in zip(source[:2], target[:2])]
    lags = [side / n for side, n in zip(rows.shape, coarse)]
    along_rows = _cosine_at(rows, lags[0])
    along_columns = _cosine_at(rows.swapaxes(0, 1), lags[1])
    return mean_of(np.array([along_rows, along_columns]))


def _cosine_at(rows: Float[np.ndarray, "first second channels"], lag: float) -> float:
    """Mean cosine along the first axis at a distance; between whole lags, linear."""
    below = int(lag)
    part = lag - below
    near = _cosine_at_whole(rows, below)
    return near if part == 0 else (1 - part) * near + part * _cosine_at_whole(rows, below + 1)


def _cosine_at_whole(rows: Float[np.ndarray, "first second channels"], lag: int) -> float:
    if lag >= len(rows):
        return float("nan")
    return mean_of((rows[lag:] * rows[: len(rows) - lag]).sum(axis=-1))
