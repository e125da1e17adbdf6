"""From the rows of a table to prefix rows, a grid and suffix rows: by evidence, else by asking.

The evidence, strongest first: a flag, config.json, a stored index, what the file says of itself,
extra tokens and rows together, the values, the square. On the true grid, neighbours are alike and
the ends of rows are not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from math import prod
from typing import Final

import numpy as np

from pe_inspect.arrays import Float32
from pe_inspect.families.structure.grid_values import (
    IN_LINE,
    begins_alike,
    best_reading,
    ends_its_rows,
    frame_grids,
    line_prefix,
    pairs_of,
    speaks_against,
)
from pe_inspect.families.structure.towers import ExtraTokens

__all__ = [
    "Evidence",
    "GridReading",
    "Statement",
    "decide",
    "flags_of",
    "lines",
    "readings",
    "written",
]

Grid = tuple[int, ...]

_MOST_PREFIX: Final = 9
_MOST_AHEAD: Final = 256  # rows of text or of latent tokens ahead of a grid that is known
_FEWEST_PATCHES: Final = 8
_MOST_LISTED: Final = 40
_MOST_SCORED: Final = 200
_MOST_WORK: Final = 1 << 30  # numbers that are looked at for readings out of the usual
_THINNEST: Final = 3  # rows of a frame that values alone can tell


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
    """Return what the values show where no reading is usual: more prefix rows, or a line.

    A grid behind more prefix rows than there are tokens; a square is looked for first.
    """
    if (known := _behind_more_rows(rows, evidence)) is not None:
        return known
    if evidence.values is None:
        return None, ""
    values = evidence.values()
    others = set(range(1, _MOST_PREFIX)) - set(_coverings(evidence))
    every = [each for p in sorted(others) for each in _behind(rows, p)]
    squares = [each for each in every if len(set(each[0])) == 1]
    for options in (squares, every) if evidence.prefix is None else ():
        few = 0 < len(options) * values.size < _MOST_WORK
        found = best_reading(values, options) if few else None
        if found is None:
            continue
        shown = GridReading(*options[found])
        is_flat = ends_its_rows(values[shown.prefix :], shown.grid)
        if is_flat and _is_whole(values, shown):
            return shown, f"{shown.prefix} prefix + {written(shown.grid)} shown by the values"
    lead = line_prefix(values, _coverings(evidence))
    if lead is None:
        return None, ""
    why = f"{rows - lead} positions in a line, shown by the values"
    return GridReading((1, rows - lead), lead), why


def _behind_more_rows(rows: int, evidence: Evidence) -> tuple[GridReading, str] | None:
    """Return the grid that something states, behind more rows than there are extra tokens."""
    if evidence.prefix is not None:
        return None
    for stated in evidence.statements:
        patches = prod(stated.grid)
        if patches < rows <= 2 * patches and rows - patches <= _MOST_AHEAD:
            why = f"grid {written(stated.grid)} from {stated.who}, behind {rows - patches} rows"
            return GridReading(stated.grid, rows - patches), why
    return None


def _behind(rows: int, prefix: int) -> list[tuple[Grid, int]]:
    """Return the grids behind so many prefix rows."""
    patches = rows - prefix
    if patches <= _FEWEST_PATCHES:
        return []
    deep = [grid for grid in _deep(patches) if min(grid[1:]) >= _THINNEST]
    return [(grid, prefix) for grid in (*frame_grids(patches), *deep)]


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


def lines(rows: int, evidence: Evidence) -> list[GridReading]:
    """Return the readings as a line, which are listed behind all others."""
    return [GridReading((1, rows - p), p) for p in _coverings(evidence) if rows - p > 1]


def _coverings(evidence: Evidence) -> tuple[int, ...]:
    if evidence.prefix is not None:
        return tuple(dict.fromkeys((evidence.prefix, 0)))
    own = evidence.tokens.coverings
    return own if evidence.tokens.prefix else (0, 1)


def _grids(patches: int, evidence: Evidence) -> list[Grid]:
    flat = list(pairs_of(patches))
    if not evidence.may_have_time:
        return flat
    deep = _deep(patches)
    deep.sort(key=lambda grid: (grid[1] != grid[2], abs(grid[1] - grid[2]), grid[0]))
    return [*deep, *flat] if evidence.has_time else [*flat, *deep]


def _deep(patches: int) -> list[Grid]:
    frames = [t for t in range(2, patches // 4 + 1) if patches % t == 0]
    return [(t, *pair) for t in frames for pair in pairs_of(patches // t) if min(pair) > 1]


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
    found = best_reading(
        values,
        [(each.grid, each.prefix) for each in options],
        is_flat=not evidence.has_time,
    )
    if found is None:
        return None
    shown, taken = options[found], square or options[found]
    if square is None and not _is_whole(values, shown):
        return None
    pair = (shown.grid, shown.prefix), (taken.grid, taken.prefix)
    return shown if shown == taken or speaks_against(values, *pair) else None


def _is_whole(values: Float32[np.ndarray, "rows channels"], shown: GridReading) -> bool:
    """Whether the ends of rows are ends, and the first row begins a grid as all others go on.

    In a line of places all that follow each other are alike; a first row that is like none is of
    tokens ahead of the patches.
    """
    patches = values[shown.prefix : shown.prefix + prod(shown.grid)]
    ends = ends_its_rows(patches, shown.grid, share=IN_LINE)
    return ends and begins_alike(patches, shown.grid)


def _others(options: Sequence[GridReading], taken: GridReading) -> str:
    """Name what would fit too: behind other prefix rows, or in several square frames."""
    other = [each for each in options if each.prefix != taken.prefix and min(each.grid) > 1]
    deep = [each for each in options if each.prefix == taken.prefix and _has_square_frames(each)]
    said = [*{each.prefix: each for each in reversed(other)}.values(), *deep[:1]]
    if not said:
        return ""
    said.sort(key=lambda each: each.prefix)
    listed = ", ".join(f"{each.prefix} prefix + {written(each.grid)}" for each in said)
    return f"; {listed} would fit too (--grid-size, --num-prefix-tokens)"


def _has_square_frames(reading: GridReading) -> bool:
    return len(reading.grid) == len(("t", "y", "x")) and reading.grid[1] == reading.grid[2]


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
