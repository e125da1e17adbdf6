"""Which grid the values of a table speak for.

On the true one, neighbours are alike and the ends of rows are not.
For a grid of rows of length W the score is the mean similarity of patches one apart along every
axis, less that of the pairs that follow each other in the table and are no neighbours on the grid,
weighed so that a table without order scores 0 on every grid, and one in a single line less.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod, sqrt
from typing import Final

import numpy as np

from pe_inspect.arrays import Float32, Shaped

__all__ = ["best_reading", "grid_score", "speaks_against"]

_CLEAR: Final = 0.1
_AGAINST: Final = 0.5
_LEAST: Final = 0.3
_NOISE: Final = 1.5  # standard deviations of the score of a table without order

Grid = tuple[int, ...]


def grid_score(rows: Float32[np.ndarray, "patches channels"], grid: Grid) -> float:
    """Return how far a grid (H, W) or (T, H, W), row-major, is that of the rows.

    About 2 where neighbours are the same and ends of rows have nothing in common, 0 for rows
    without order; NaN where a value is not finite or all rows are equal.
    """
    unit = _centred(rows)
    if unit is None or prod(grid) != len(rows):
        return float("nan")
    long = [axis for axis, side in enumerate(grid) if side > 1]
    stretches = [unit.reshape(prod(grid[:axis]), grid[axis], -1) for axis in long]
    along = [_along(stretch) for stretch in stretches]
    ends = [_across_ends(stretch) for stretch in stretches if len(stretch) > 1]
    return float(2 * np.mean(along) - (2 * np.mean(ends) if ends else 0))


def best_reading(
    values: Float32[np.ndarray, "tokens channels"], readings: Sequence[tuple[Grid, int]]
) -> int | None:
    """Return the index of the reading (grid, prefix rows) that the values clearly speak for.

    Returns:
        `None` where no reading stands out; of several alike, the only one of square frames does.
    """
    scores = [grid_score(values[p : p + prod(grid)], grid) for grid, p in readings]
    best = max((s for s in scores if np.isfinite(s)), default=0.0)
    noise = _noise(values, readings[scores.index(best)][0]) if best else 0.0
    if best < _LEAST + noise:
        return None
    near = [i for i, s in enumerate(scores) if s > best - _CLEAR - noise]
    square = [i for i, s in enumerate(scores) if s > best - 2 * _CLEAR - noise]
    square = [i for i in square if readings[i][0][-1] == readings[i][0][-2]]
    chosen = near if len(near) == 1 and not square else square
    return chosen[0] if len(chosen) == 1 else None


def speaks_against(
    values: Float32[np.ndarray, "tokens channels"], taken: tuple[Grid, int], other: tuple[Grid, int]
) -> bool:
    """Whether the values speak for one reading so clearly that the other is out of the question."""
    scores = [grid_score(values[p : p + prod(g)], g) for g, p in (taken, other)]
    return bool(scores[0] - scores[1] > _AGAINST + _noise(values, taken[0]))


def _noise(values: Float32[np.ndarray, "tokens channels"], grid: Grid) -> float:
    """What the score of a table without order reaches by chance: its shortest mean is the widest.

    That mean is over the ends of rows, one less than there are rows, each of so many channels.
    """
    shortest = max(1, min(side for side in grid if side > 1) - 1) if max(grid) > 1 else 1
    return float(2 * _NOISE / sqrt(values.shape[1] * shortest))


def _centred(
    rows: Float32[np.ndarray, "patches channels"],
) -> Float32[np.ndarray, "patches channels"] | None:
    """Rows less their mean, scaled to a mean square length of 1."""
    if not np.isfinite(rows).all() or len(rows) < 2:
        return None
    centred = rows.astype(np.float32) - rows.mean(axis=0, dtype=np.float64).astype(np.float32)
    scale = float(np.sqrt(np.square(centred).sum(axis=1).mean()))
    return centred / scale if scale > 0 else None


def _along(stretches: Shaped[np.ndarray, "outer side inner"]) -> float:
    """Similarity of neighbours along an axis, where along it they are the least alike.

    The least, and not the mean: on a grid whose rows are twice as long as the true ones, every
    middle of a row is an end.
    """
    pairs = (
        _similarity(stretches[:, i], stretches[:, i + 1]) for i in range(stretches.shape[1] - 1)
    )
    return min(pairs)


def _across_ends(stretches: Shaped[np.ndarray, "outer side inner"]) -> float:
    """Similarity of the last of every stretch and the first of the next."""
    return _similarity(stretches[:-1, -1], stretches[1:, 0])


def _similarity(one: Shaped[np.ndarray, "..."], other: Shaped[np.ndarray, "..."]) -> float:
    size = float(np.square(one).sum() + np.square(other).sum())
    return float(2 * (one * other).sum()) / size if size else 0.0
