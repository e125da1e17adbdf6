"""From the rows of a table to prefix rows, a grid and suffix rows: by evidence, else by asking.

The evidence, strongest first: a flag, config.json, a stored index, what the file says of itself,
extra tokens and rows together, the values, the square. On the true grid, neighbours are alike and
the ends of rows are not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from math import isqrt, prod
from typing import Final

import numpy as np

from pe_inspect.arrays import Float32, Shaped
from pe_inspect.families.structure.towers import ExtraTokens

__all__ = [
    "Evidence",
    "GridReading",
    "Statement",
    "best_reading",
    "decide",
    "flags_of",
    "grid_of_places",
    "grid_score",
    "readings",
    "speaks_against",
    "written",
]

Grid = tuple[int, ...]

_MOST_PREFIX: Final = 9
_FEWEST_PATCHES: Final = 8
_MOST_LISTED: Final = 40
_MOST_SCORED: Final = 200


@dataclass(frozen=True)
class GridReading:
    """One way to divide the rows of a table.

    Attributes:
        grid: (H, W) or (T, H, W).
        prefix: rows ahead of the patches.
        suffix: rows behind them.
        lead: rows ahead of the patches of every frame.
    """

    grid: Grid
    prefix: int = 0
    suffix: int = 0
    lead: int = 0


@dataclass(frozen=True)
class Statement:
    """A grid that somebody or something states.

    Attributes:
        grid: what it states.
        who: what states it.
        binds: whether a table that it does not fit is a contradiction.
    """

    grid: Grid
    who: str
    binds: bool = False


@dataclass(frozen=True)
class Evidence:
    """What is known of a table's grid beside its number of rows.

    Attributes:
        tokens: the tower's extra tokens.
        statements: grids that are stated, the strongest first.
        prefix: how many prefix rows are said.
        has_time: whether a third axis is likely: a kernel with a side in time.
        may_have_time: whether it is possible: a kernel of three sides, or frames that are said.
        is_flat: whether it is not: a kernel of two sides. A matrix on flattened patches tells none.
        values: reads the table, (rows, channels).
    """

    tokens: ExtraTokens
    statements: tuple[Statement, ...] = ()
    prefix: int | None = None
    has_time: bool = False
    may_have_time: bool = False
    is_flat: bool = False
    values: Callable[[], Float32[np.ndarray, "rows channels"]] | None = None


def decide(rows: int, evidence: Evidence) -> tuple[GridReading | None, str]:
    """Return the reading that the evidence speaks for and why; none where nothing decides."""
    if (stated := _as_stated(rows, evidence)) is not None:
        return stated
    options = readings(rows, evidence)
    if not options:
        return _unusual(rows, evidence)
    square = _ordinary(options, evidence)
    shown = _by_values(options, evidence, square)
    if shown is not None and shown != square:
        instead = f", where {written(square.grid)} would fit too" if square else ""
        return shown, f"grid {written(shown.grid)} shown by the values of the table{instead}"
    if square is not None:
        patches = prod(square.grid)
        others = _others(options, square)
        return square, f"grid {written(square.grid)} inferred from {patches} patch rows{others}"
    if len(options) == 1 and min(options[0].grid) > 1:
        return options[0], f"grid {written(options[0].grid)} is the only one of {rows} rows"
    return _unusual(rows, evidence)


def _unusual(rows: int, evidence: Evidence) -> tuple[GridReading | None, str]:
    """Return a square behind more prefix rows than there are tokens, where the values show it."""
    if evidence.prefix is not None or evidence.values is None:
        return None, ""
    prefixes = [p for p in range(1, _MOST_PREFIX) if isqrt(max(rows - p, 0)) ** 2 == rows - p]
    options = [((isqrt(rows - p),) * 2, p) for p in prefixes if rows - p > _FEWEST_PATCHES]
    values = evidence.values()
    found = best_reading(values, options) if options else None
    if found is None or not _ends_its_rows(values[options[found][1] :], options[found][0]):
        return None, ""
    grid, prefix = options[found]
    return GridReading(grid, prefix), f"{prefix} prefix + {written(grid)} shown by the values"


def readings(rows: int, evidence: Evidence) -> list[GridReading]:
    """Return every reading, the likeliest first: full coverings, then grids nearest the square."""
    found = list[GridReading]()
    for suffix in dict.fromkeys((evidence.tokens.det, 0)):
        for prefix in _coverings(evidence):
            patches = rows - prefix - suffix
            grids = _grids(patches, evidence) if patches > 1 else ()
            found += [GridReading(grid, prefix, suffix) for grid in grids]
    whole = [each for each in found if min(each.grid) > 1]
    return whole or found


def _coverings(evidence: Evidence) -> tuple[int, ...]:
    if evidence.prefix is not None:
        return tuple(dict.fromkeys((evidence.prefix, 0)))
    own = evidence.tokens.coverings
    return own if evidence.tokens.prefix else (0, 1)


def _grids(patches: int, evidence: Evidence) -> list[Grid]:
    flat = list(_pairs(patches))
    if not evidence.may_have_time:
        return flat
    deep = _deep(patches)
    deep.sort(key=lambda grid: (grid[1] != grid[2], abs(grid[1] - grid[2]), grid[0]))
    return [*deep, *flat] if evidence.has_time else [*flat, *deep]


def _deep(patches: int) -> list[Grid]:
    frames = [t for t in range(2, patches // 4 + 1) if patches % t == 0]
    return [(t, *pair) for t in frames for pair in _pairs(patches // t) if min(pair) > 1]


def _frame_grids(patches: int) -> list[Grid]:
    """Return the grids of one frame of so many patches."""
    return [pair for pair in _pairs(patches) if min(pair) > 1]


def _pairs(patches: int) -> Iterator[Grid]:
    for a in range(isqrt(patches), 0, -1):
        if patches % a == 0:
            yield (a, patches // a)
            if a * a != patches:
                yield (patches // a, a)


def _as_stated(rows: int, evidence: Evidence) -> tuple[GridReading, str] | None:
    for stated in evidence.statements:
        for suffix in dict.fromkeys((evidence.tokens.det, 0)):
            prefix = rows - suffix - prod(stated.grid)
            if prefix in _coverings(evidence):
                note = f"grid {written(stated.grid)} from {stated.who}"
                return GridReading(stated.grid, prefix, suffix), note
    return None


def _ordinary(options: Sequence[GridReading], evidence: Evidence) -> GridReading | None:
    """Return the square with the most of the tower's own tokens; of time, the only such square."""
    own = [each for each in options if evidence.tokens.prefix or each.prefix == 0]
    flat = [each for each in own if len(each.grid) == 2 and each.grid[0] == each.grid[1]]
    if evidence.has_time and not flat:
        deep = [each for each in own if len(each.grid) == 3 and each.grid[1] == each.grid[2]]
        return deep[0] if len(deep) == 1 else None
    return flat[0] if flat else None


def _by_values(
    options: Sequence[GridReading], evidence: Evidence, square: GridReading | None
) -> GridReading | None:
    """Return the reading that the values show; against a square only where they are clear."""
    if evidence.values is None or len(options) > _MOST_SCORED:
        return None
    values = evidence.values()
    if not evidence.is_flat and not evidence.may_have_time:
        patches = {(each.prefix, each.suffix): prod(each.grid) for each in options}
        deep = ((p, s, _deep(n)) for (p, s), n in patches.items())
        more = (GridReading(grid, p, s) for p, s, grids in deep for grid in grids)
        options = [*options, *(each for each in more if min(each.grid[1:]) >= _THINNEST)]
    found = best_reading(values, [(each.grid, each.prefix) for each in options])
    if found is None:
        return None
    shown, taken = options[found], square or options[found]
    pair = (shown.grid, shown.prefix), (taken.grid, taken.prefix)
    return shown if shown == taken or speaks_against(values, *pair) else None


def _others(options: Sequence[GridReading], taken: GridReading) -> str:
    """Name what would fit too, where another number of prefix rows leaves a rectangle."""
    other = [each for each in options if each.prefix != taken.prefix and min(each.grid) > 1]
    said = {each.prefix: each for each in reversed(other)}
    if not said:
        return ""
    listed = ", ".join(f"{p} prefix + {written(each.grid)}" for p, each in sorted(said.items()))
    return f"; {listed} would fit too (--grid-size, --num-prefix-tokens)"


def flags_of(options: Sequence[GridReading], *, most: int = _MOST_LISTED) -> str:
    """List readings with the flags that choose each."""
    listed = [
        f"{written(each.grid)} with {each.prefix} prefix"
        + (f" and {each.suffix} suffix" if each.suffix else "")
        + f" rows (--grid-size {'x'.join(map(str, each.grid))} --num-prefix-tokens {each.prefix})"
        for each in islice(options, most)
    ]
    more = len(options) - len(listed)
    return "; ".join(listed) + (f"; and {more} more" if more > 0 else "")


def written(grid: Grid) -> str:
    """Write a grid as the field does: `8×14×14`."""
    return "×".join(map(str, grid))


_LEAST: Final = 0.25  # score of the best grid: tables without order stay below 0.1
_CLEAR: Final = 0.04  # its lead on the next: see `grid_score`
_ROUGHER: Final = 1.25  # how much rougher a smooth table is on any other grid
_ENDS: Final = 0.5
_FRAMES: Final = 0.4
_THINNEST: Final = 3  # rows of a frame that values alone can tell


def grid_score(rows: Float32[np.ndarray, "patches channels"], grid: Grid) -> float:
    """Return how far a grid (H, W) or (T, H, W), row-major, is that of the rows.

    The mean similarity of neighbours along the axes, less half of that of patches which follow
    each other in the table and are no neighbours: the ends of rows. Frames are added where what
    follows a frame is less alike than neighbours in it, and than the same place of the next one.
    0 for rows without order, 1 at most of two axes; NaN where a value is not finite or all rows
    are equal. Among all grids of one number of rows, the true one of 300 made tables (of 2 to 16 a
    side, half of their variance noise) led by more than 0.04 in 228, another one in 4.
    """
    unit = _centred(rows)
    if unit is None or prod(grid) != len(rows):
        return float("nan")
    if len(grid) == 2:
        return _flat_score(unit, grid)
    frames, height, width = grid
    placed = unit.reshape(*grid, -1)
    inside = _similarity(placed[:, :-1], placed[:, 1:])
    follows = max(0.0, _similarity(placed[:-1, -1], placed[1:, 0]))
    over_time = _similarity(placed[:-1], placed[1:])
    whole = _flat_score(unit, (frames * height, width))
    return whole + _FRAMES * ((inside + over_time) / 2 - follows)


def _flat_score(unit: Float32[np.ndarray, "patches channels"], grid: Grid) -> float:
    placed = unit.reshape(*grid, -1)
    steps = [np.diff(placed, axis=axis) for axis in (0, 1) if grid[axis] > 1]
    along = [1 - float(np.square(step).sum(-1).mean()) / 2 for step in steps]
    ends = max(0.0, _similarity(placed[:-1, -1], placed[1:, 0])) if min(grid) > 1 else 0.0
    return float(np.mean(along)) - _ENDS * ends


def best_reading(
    values: Float32[np.ndarray, "tokens channels"], readings: Sequence[tuple[Grid, int]]
) -> int | None:
    """Return the index of the reading (grid, prefix rows) that the values clearly speak for.

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
    square = [i for i in near if readings[i][0][-1] == readings[i][0][-2]]
    return square[0] if len(square) == 1 and not _leads(best, scores[square[0]]) else None


def speaks_against(
    values: Float32[np.ndarray, "tokens channels"], taken: tuple[Grid, int], other: tuple[Grid, int]
) -> bool:
    """Whether the values speak for one reading so clearly that the other is out of the question."""
    scores = [grid_score(values[p : p + prod(g)], g) for g, p in (taken, other)]
    rows = values[taken[1] : taken[1] + prod(taken[0])]
    return _leads(*scores) and _ends_its_rows(rows, taken[0])


def grid_of_places(frames: Float32[np.ndarray, "frames places channels"]) -> Grid | None:
    """Return (H, W) of the places of every frame, where they lie on a grid and not in a line."""
    mean = frames.mean(axis=0)
    grids = _frame_grids(len(mean))
    found = best_reading(mean, [(grid, 0) for grid in grids]) if grids else None
    return grids[found] if found is not None and _ends_its_rows(mean, grids[found]) else None


def _ends_its_rows(rows: Float32[np.ndarray, "patches channels"], grid: Grid) -> bool:
    """Whether the ends of rows are no neighbours: on a line of places they are on every grid."""
    unit = _centred(rows)
    if unit is None:
        return False
    placed = unit.reshape(-1, grid[-1], unit.shape[1])
    inside = _similarity(placed[:, :-1], placed[:, 1:])
    return _similarity(placed[:-1, -1], placed[1:, 0]) < inside / 2


def _leads(best: float, other: float) -> bool:
    """Whether a score leads: by a margin, or by a good part of what the other misses of 1."""
    return best - other > _CLEAR or (best < 1 and (1 - other) > _ROUGHER * (1 - best))


def _centred(
    rows: Float32[np.ndarray, "patches channels"],
) -> Float32[np.ndarray, "patches channels"] | None:
    """Rows less their mean, scaled to a mean square length of 1."""
    if not np.isfinite(rows).all() or len(rows) < 2:
        return None
    centred = rows.astype(np.float32) - rows.mean(axis=0, dtype=np.float64).astype(np.float32)
    scale = float(np.sqrt(np.square(centred).sum(axis=1).mean()))
    return centred / scale if scale > 0 else None


def _similarity(one: Shaped[np.ndarray, "..."], other: Shaped[np.ndarray, "..."]) -> float:
    size = float(np.square(one).sum() + np.square(other).sum())
    return float(2 * (one * other).sum()) / size if size else 0.0
