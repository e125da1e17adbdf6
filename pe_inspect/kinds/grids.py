"""The grid of a table: (H, W), (T, H, W), or `None` where no file tells it."""

from __future__ import annotations

from collections.abc import Iterable
from math import prod
from typing import TYPE_CHECKING, Any, Final, TypeAlias, cast

from pe_inspect.errors import UsageError

__all__ = ["FlatGrid", "Grid", "checked_grid", "flat_grid", "grid_words", "num_places"]

FlatGrid: TypeAlias = tuple[int, int]
if TYPE_CHECKING:
    # What a question reads: it refuses any other grid by `flat_grid`, before it reads one.
    Grid: TypeAlias = FlatGrid
else:
    Grid = FlatGrid | tuple[int, int, int] | None

_AXES: Final = (2, 3)


def checked_grid(grid_size: Any) -> Grid:
    """Return a grid as whole numbers.

    Raises:
        ValueError: a side is less than 1, or there are neither two sides nor three.
    """
    if grid_size is None:
        return cast("Grid", grid_size)
    sides = tuple(int(side) for side in grid_size)
    shown = "×".join(map(str, sides))
    if len(sides) not in _AXES:
        raise ValueError(f"grid_size is {shown}; expected (H, W), (T, H, W), or None")
    if min(sides) < 1:
        which = "both" if len(sides) == 2 else "all"
        raise ValueError(f"grid_size is {shown}; {which} sides must be at least 1")
    return cast("Grid", sides)


def grid_words(grid_size: Any) -> str:
    """Return a grid as it is printed: `14×14`, `8×14×14`, `unknown grid`."""
    return "unknown grid" if grid_size is None else "×".join(map(str, grid_size))


def num_places(grid_size: Any, shape: tuple[int, ...], num_prefix_rows: int) -> int:
    """Return the patches of a grid; of an unknown one, the rows that a table has for them."""
    return shape[-2] - num_prefix_rows if grid_size is None else prod(grid_size)


def flat_grid(grids: Iterable[Any], question: str) -> None:
    """Refuse grids that a question cannot lay out in rows and columns.

    Args:
        grids: those of an embedding's tables.
        question: what was asked, as it is named on the command line.

    Raises:
        UsageError: a grid has a time axis, or is not known.
    """
    for grid in grids:
        if grid is None:
            raise UsageError(
                f"{question}: the grid of this table is not known: pass --grid-size HxW."
            )
        if len(grid) != 2:
            raise UsageError(
                f"{question} of a T×H×W grid is not drawn yet, and this table has one: "
                f"{grid_words(grid)}. A single frame, as a table of H×W patches, can be asked."
            )
