"""From the shape of a table to its grid: a side may be frames, or the two axes of a grid."""

from __future__ import annotations

from dataclasses import replace
from math import isqrt, prod
from typing import Final

from pe_inspect.families.structure.grid_values import (
    are_stacked,
    frame_grids,
    grid_of_places,
    is_line,
)
from pe_inspect.families.structure.grids import GridReading, written
from pe_inspect.families.structure.names import is_of_time
from pe_inspect.families.structure.structure import Structure
from pe_inspect.families.structure.table_values import rows_of
from pe_inspect.families.structure.tables import TableCandidate
from pe_inspect.families.structure.towers import extra_tokens

__all__ = ["axes_in_one", "by_shape", "readings_of_two"]

_MOST_NUMBERS: Final = 1 << 27  # of the tables of two axes, put together
_BOTH: Final = 2  # axes of a grid; and of a tensor that holds a table of each
_FEWEST_PLACES: Final = 4  # of a frame


def by_shape(structure: Structure, table: TableCandidate) -> tuple[GridReading | None, str]:
    """Read the grid off the shape; a side may be frames of patches, where the values show that."""
    said = structure.hints.grid_size
    if table.combine != "none" and said is not None and _fits_within(said, table.sides):
        return GridReading(tuple(said)), f"the first {written(said)} of {written(table.sides)}"
    if table.combine != "none" and prod(table.sides) * table.dim > _MOST_NUMBERS:
        return None, ""
    if len(table.sides) == 2 and table.combine == "none" and said != table.sides:
        if said is not None and (stated := _frames_said(said, table.sides)) is not None:
            return stated, f"grid {written(said)} from {structure.hints.origin('grid_size')}"
        if (shown := _frames_shown(structure, table)) is not None:
            return shown
        if frames := _frames(structure, table):
            why = f"grid {written(frames.grid)}: a square a frame, and the file speaks of time"
            return frames, why
        if table.sides[0] == _BOTH and not _are_neighbours(structure, table):
            return None, ""
    return GridReading(table.sides), f"grid {written(table.sides)} shown by the shape"


def readings_of_two(sides: tuple[int, ...]) -> list[GridReading]:
    """Return how a table of two rows of places may be read beside as two axes."""
    return [GridReading(sides), *(GridReading((_BOTH, *grid)) for grid in frame_grids(sides[1]))]


def _frames_said(said: tuple[int, ...], sides: tuple[int, ...]) -> GridReading | None:
    """Return the frames that a flag states, where they fill a table (T, H·W) or lead by a row."""
    lead = sides[1] - prod(said[1:])
    fits = len(said) == len(sides) + 1 and said[0] == sides[0] and lead in (0, 1)
    return GridReading(said, lead=lead) if fits else None


def _frames_shown(structure: Structure, table: TableCandidate) -> tuple[GridReading, str] | None:
    """Return (T, H, W) of a table (T, H·W) where the values show it; a row may lead a frame."""
    values = rows_of(structure, table, 0).reshape(*table.sides, -1)
    for lead in (0, 1):
        if grid := grid_of_places(values[:, lead:]):
            deep = (table.sides[0], *grid)
            why = f"grid {written(deep)} shown by the shape and the values"
            return GridReading(deep, lead=lead), why
    return None


def axes_in_one(structure: Structure, table: TableCandidate) -> TableCandidate | None:
    """Return a tensor (2, positions, D) as two tables, of the columns and of the rows.

    It is taken for that where a flag says a grid that lies within, or where both are lines by
    their values and no neighbours of each other. The columns come first, as in Gemma 4.
    """
    if table.sides[:1] != (_BOTH,) or len(table.sides) != _BOTH or table.combine != "none":
        return None
    said, count = structure.hints.grid_size, table.sides[1]
    is_said = said is not None and said != table.sides and _fits_within(said, (count, count))
    if not is_said and (said is not None or not _are_lines(structure, table)):
        return None
    return replace(table, sides=(count, count), combine="sum")


def _are_lines(structure: Structure, table: TableCandidate) -> bool:
    one, other = rows_of(structure, table, 0).reshape(*table.sides, -1)
    return is_line(one) and is_line(other) and not _are_neighbours(structure, table)


def _are_neighbours(structure: Structure, table: TableCandidate) -> bool:
    """Whether what lies below each other is alike, as on a grid of two rows."""
    return are_stacked(rows_of(structure, table, 0), table.sides)


def _frames(structure: Structure, table: TableCandidate) -> GridReading | None:
    """Return (T, H, W) of a table (T, H·W), where the file speaks of time and has no other table.

    A row of a class token may lead every frame. A grid (H, W) is likelier where both sides are
    equal, or where frames have a table of their own.
    """
    frames, places = table.sides
    lead = next((n for n in (0, 1) if isqrt(places - n) ** 2 == places - n), None)
    if lead is None or places - lead < _FEWEST_PLACES or frames == places:
        return None
    if any(each.role == "time" for each in structure.tables):
        return None
    seen = structure.seen
    said = [*(tower.prefix for tower in seen.towers), *extra_tokens(seen, "", table.dim).names]
    side = isqrt(places - lead)
    return GridReading((frames, side, side), lead=lead) if any(map(is_of_time, said)) else None


def _fits_within(grid: tuple[int, ...], sides: tuple[int, ...]) -> bool:
    return len(grid) == len(sides) and all(own <= side for own, side in zip(grid, sides))
