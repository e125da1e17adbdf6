"""What the values of a table tell of its grid: neighbours are alike, the ends of rows are not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import isqrt, prod
from typing import Final

import numpy as np

from pe_inspect.arrays import Float32, Shaped

__all__ = [
    "IN_LINE",
    "are_stacked",
    "begins_alike",
    "best_reading",
    "ends_its_rows",
    "frame_grids",
    "grid_of_places",
    "grid_score",
    "is_line",
    "line_prefix",
    "pairs_of",
    "speaks_against",
]

Grid = tuple[int, ...]

_LEAST: Final = 0.25  # score of the best grid: tables without order stay below 0.1
_CLEAR: Final = 0.04  # its lead on the next: see `grid_score`
_ROUGHER: Final = 1.25  # how much rougher a smooth table is on any other grid
_ENDS: Final = 0.5
_FRAMES: Final = 0.4
IN_LINE: Final = 0.8  # ends of rows as alike as that, of neighbours, are none
_FEWEST_ROWS: Final = 4
_BEGINS: Final = 0.25  # likeness of the first two rows, of that of the later ones
_FEWEST_IN_LINE: Final = 8
_LINE: Final = 0.5  # likeness of neighbours along a line; tables without order stay below 0.1


def grid_score(rows: Float32[np.ndarray, "patches channels"], grid: Grid) -> float:
    """Return how far a grid (H, W) or (T, H, W), row-major, is that of the rows.

    The mean similarity of neighbours along the axes, less half of that of patches which follow
    each other in the table and are no neighbours: the ends of rows. Frames are added where what
    follows a frame is less alike than neighbours in it, and than the same place of the next one.
    0 for rows without order, 1 at most of two axes; NaN where a value is not finite or all rows
    are equal. Among all grids of one number of rows, the true one of 300 made tables (of 2 to 16 a
    side, half of their variance noise) led by more than 0.04 in 228, another one in 4.
    """
    unit = centred(rows)
    if unit is None or prod(grid) != len(rows):
        return float("nan")
    if len(grid) == 2:
        return flat_score(unit, grid)
    frames, height, width = grid
    placed = unit.reshape(*grid, -1)
    inside = similarity(placed[:, :-1], placed[:, 1:])
    follows = max(0.0, similarity(placed[:-1, -1], placed[1:, 0]))
    over_time = similarity(placed[:-1], placed[1:])
    whole = flat_score(unit, (frames * height, width))
    return whole + _FRAMES * ((inside + over_time) / 2 - follows)


def flat_score(unit: Float32[np.ndarray, "patches channels"], grid: Grid) -> float:
    """How alike neighbours on a grid of rows and columns are; less where a row runs on in the next.

    Args:
        unit: rows as `centred` gives them.
        grid: (rows, columns), as many cells as rows of `unit`.
    """
    placed = unit.reshape(*grid, -1)
    steps = [np.diff(placed, axis=axis) for axis in (0, 1) if grid[axis] > 1]
    along = [1 - float(np.square(step).sum(-1).mean()) / 2 for step in steps]
    ends = max(0.0, similarity(placed[:-1, -1], placed[1:, 0])) if min(grid) > 1 else 0.0
    return float(np.mean(along)) - _ENDS * ends


def best_reading(
    values: Float32[np.ndarray, "tokens channels"],
    readings: Sequence[tuple[Grid, int]],
    *,
    is_flat: bool = False,
) -> int | None:
    """Return the index of the reading (grid, prefix rows) that the values clearly speak for.

    Args:
        values: a row a token.
        readings: what they are asked of.
        is_flat: whether frames are unlikely: of a grid and its division into frames, which are
            nearly alike, the grid is taken.

    Returns:
        `None` where no reading stands out; of several alike, the only one of square frames does.
    """
    scores = [grid_score(values[p : p + prod(grid)], grid) for grid, p in readings]
    order = sorted((i for i, s in enumerate(scores) if np.isfinite(s)), key=lambda i: -scores[i])
    if not order or scores[order[0]] < _LEAST:
        return None
    best = scores[order[0]]
    if len(order) == 1 or _leads(best, scores[order[1]]):
        return order[0]
    near = [i for i in order if scores[i] > best - 2 * _CLEAR]
    if is_flat and (whole := [i for i in near if _divides_all(readings, i, near)]):
        return whole[0]
    square = [i for i in near if readings[i][0][-1] == readings[i][0][-2]]
    return square[0] if len(square) == 1 and not _leads(best, scores[square[0]]) else None


def _divides_all(readings: Sequence[tuple[Grid, int]], at: int, near: Sequence[int]) -> bool:
    """Whether all others are a grid of two sides with its rows divided into frames."""
    (grid, prefix), others = readings[at], [readings[i] for i in near if i != at]
    return len(grid) == len(("rows", "columns")) and all(
        p == prefix and len(other) > len(grid) and other[-1] == grid[-1] for other, p in others
    )


def speaks_against(
    values: Float32[np.ndarray, "tokens channels"], taken: tuple[Grid, int], other: tuple[Grid, int]
) -> bool:
    """Whether the values speak for one reading so clearly that the other is out of the question."""
    scores = [grid_score(values[p : p + prod(g)], g) for g, p in (taken, other)]
    rows = values[taken[1] : taken[1] + prod(taken[0])]
    return _leads(*scores) and ends_its_rows(rows, taken[0])


def grid_of_places(frames: Float32[np.ndarray, "frames places channels"]) -> Grid | None:
    """Return (H, W) of the places of every frame, where they lie on a grid and not in a line."""
    mean = frames.mean(axis=0)
    grids = frame_grids(len(mean))
    found = best_reading(mean, [(grid, 0) for grid in grids]) if grids else None
    return grids[found] if found is not None and ends_its_rows(mean, grids[found]) else None


def ends_its_rows(
    rows: Float32[np.ndarray, "patches channels"], grid: Grid, *, share: float = 0.5
) -> bool:
    """Whether the ends of rows are no neighbours: on a line of places they are on every grid.

    Args:
        rows: what is looked at, a row a place.
        grid: row-major.
        share: how alike ends may be, of how alike neighbours in a row are.
    """
    unit = centred(rows[: prod(grid)])
    if unit is None:
        return False
    placed = unit.reshape(-1, grid[-1], unit.shape[1])
    inside = similarity(placed[:, :-1], placed[:, 1:])
    return similarity(placed[:-1, -1], placed[1:, 0]) < share * inside


def _leads(best: float, other: float) -> bool:
    """Whether a score leads: by a margin, or by a good part of what the other misses of 1."""
    return best - other > _CLEAR or (best < 1 and (1 - other) > _ROUGHER * (1 - best))


def centred(
    rows: Float32[np.ndarray, "patches channels"],
) -> Float32[np.ndarray, "patches channels"] | None:
    """Rows less their mean, scaled to a mean square length of 1."""
    if not np.isfinite(rows).all() or len(rows) < 2:
        return None
    less = rows.astype(np.float32) - rows.mean(axis=0, dtype=np.float64).astype(np.float32)
    scale = float(np.sqrt(np.square(less).sum(axis=1).mean()))
    return less / scale if scale > 0 else None


def similarity(one: Shaped[np.ndarray, "..."], other: Shaped[np.ndarray, "..."]) -> float:
    """Twice the sum of products over the sum of squares: from −1 to 1, 1 for equal; 0 of zeros."""
    size = float(np.square(one).sum() + np.square(other).sum())
    return float(2 * (one * other).sum()) / size if size else 0.0


def are_stacked(rows: Float32[np.ndarray, "patches channels"], grid: Grid) -> bool:
    """Whether what lies below each other on a grid is alike."""
    unit = centred(rows)
    if unit is None:
        return False
    placed = unit.reshape(*grid, -1)
    return similarity(placed[:-1], placed[1:]) > _LEAST


def begins_alike(rows: Float32[np.ndarray, "patches channels"], grid: Grid) -> bool:
    """Whether the first row of a grid is like the second one, as the others are like the next."""
    unit = centred(rows)
    if unit is None or prod(grid[:-1]) < _FEWEST_ROWS:
        return True
    placed = unit.reshape(prod(grid[:-1]), grid[-1], -1)
    later = similarity(placed[1:-1], placed[2:])
    return similarity(placed[:1], placed[1:2]) > _BEGINS * later


def is_line(rows: Float32[np.ndarray, "places channels"]) -> bool:
    """Whether rows that follow each other are alike."""
    unit = centred(rows)
    return unit is not None and flat_score(unit, (1, len(rows))) > _LINE


def line_prefix(
    rows: Float32[np.ndarray, "tokens channels"], coverings: Sequence[int]
) -> int | None:
    """Return how many rows lead a line of places, which no grid divides; `None` for no line.

    The first row belongs to the line where the second one is like it.
    """
    unit = centred(rows)
    if unit is None or len(rows) < _FEWEST_IN_LINE:
        return None
    grids = ((p, grid) for p in coverings for grid in frame_grids(len(rows) - p))
    if any(ends_its_rows(rows[p:], grid, share=IN_LINE) for p, grid in grids):
        return None
    begins = similarity(unit[:1], unit[1:2]) > _LINE
    prefix = 0 if begins else max(coverings, default=0)
    return prefix if is_line(rows[prefix:]) else None


def frame_grids(patches: int) -> list[Grid]:
    """Return the grids of one frame of so many patches."""
    return [pair for pair in pairs_of(patches) if min(pair) > 1]


def pairs_of(patches: int) -> Iterator[Grid]:
    """Yield the grids of two sides of so many patches, the squarest first."""
    for a in range(isqrt(max(patches, 0)), 0, -1):
        if patches % a == 0:
            yield (a, patches // a)
            if a * a != patches:
                yield (patches // a, a)
