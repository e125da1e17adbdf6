"""Readings of a number of rows that keep what a file shows: prefix rows, shape, an axis."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pe_inspect.diagnosis.readings import RowDivision, readings

__all__ = ["MOST_TOLD", "Fitting", "fitting"]

MOST_TOLD: Final = 6
USUAL_PREFIX_ROWS: Final = (0, 1, 2, 5)  # none, CLS, distillation or DINOv2's four registers


@dataclass(frozen=True)
class Fitting:
    """The readings of a number of rows, beside one of the file, the likeliest first.

    Attributes:
        all: what is told; empty where no grid has so many rows.
        num_equal: how many of the first keep as much of the file as one another.
        keeps: whether they keep anything: otherwise all are mere numbers.
        is_usual: whether the first needs no unusual number of prefix rows.
    """

    all: tuple[RowDivision, ...]
    num_equal: int
    keeps: bool
    is_usual: bool = True

    @property
    def only(self) -> RowDivision | None:
        """The first reading, where no other keeps as much of the file, and it invents no tokens."""
        is_only = self.keeps and self.is_usual and self.num_equal == 1
        return self.all[0] if is_only else None


def fitting(
    have: RowDivision, rows: int, *, keeps_height: bool = False, num_prefix_rows: int | None = None
) -> Fitting:
    """Return the readings of so many rows that keep something of the file's; else the nearest.

    Args:
        have: how the file divides. Its rows behind the patches stay in any case.
        rows: all rows of the table that a model expects.
        keeps_height: whether the height cannot change, as the mel bins of a spectrogram.
        num_prefix_rows: how many rows are of tokens, where that is known.
    """
    behind = have.num_suffix_rows
    found = [
        each.with_suffix(behind)
        for each in readings(max(rows - behind, 0))
        if num_prefix_rows in (None, each.num_prefix_rows)
    ]
    ranks = {each: _rank(have, each, keeps_height) for each in found}
    ordered = sorted((each for each in found if _is_no_strip(each, have)), key=ranks.__getitem__)
    kept = [each for each in ordered if ranks[each][0] < KEEPS_NOTHING]
    own = [each for each in ordered if each.num_prefix_rows == have.num_prefix_rows]
    equal = sum(ranks[each][0] == ranks[ordered[0]][0] for each in ordered) if ordered else 0
    is_usual = bool(kept) and ranks[kept[0]][0] < INVENTS_TOKENS
    told = kept if is_usual else list(dict.fromkeys([*kept, *own])) or ordered
    return Fitting(tuple(told[:MOST_TOLD]), equal, bool(kept), is_usual)


def _is_no_strip(reading: RowDivision, have: RowDivision) -> bool:
    return min(reading.grid_size) > 1 or min(have.grid_size) == 1


INVENTS_TOKENS: Final = 4
KEEPS_NOTHING: Final = 5


def _rank(have: RowDivision, other: RowDivision, keeps_height: bool) -> tuple[int, float, int]:
    """Order readings by what they keep: the grid, the prefix rows with the shape or an axis."""
    same_prefix = other.num_prefix_rows == have.num_prefix_rows
    (height, width), (rows, columns) = have.grid_size, other.grid_size
    same_shape = height * columns == width * rows and not keeps_height
    same_axis = rows == height or (columns == width and not keeps_height)
    stretched = max(height * columns, width * rows) / min(height * columns, width * rows)
    if (rows, columns) == have.grid_size:
        place = 0
    elif same_prefix and same_shape:
        place = 1
    elif same_prefix and same_axis:
        place = 2
    elif same_shape:
        place = 3 if other.num_prefix_rows in USUAL_PREFIX_ROWS else INVENTS_TOKENS
    else:
        place = KEEPS_NOTHING
    return place, stretched, other.num_prefix_rows
