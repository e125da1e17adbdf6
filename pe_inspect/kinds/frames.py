"""Grids of three axes for questions that read rows and columns: frames in a row, or as channels.

Side by side, T frames of H×W patches are one plane of H rows and T·W columns: every map of pairs
is what it was, and a query's map is a row of frames. As channels, T frames are T·D channels of one
H×W plane: what resamples the plane resamples every frame for itself, and time is kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np

from pe_inspect.errors import UsageError
from pe_inspect.kinds.held_values import Lookup
from pe_inspect.kinds.parts import LayerPE, grid_words
from pe_inspect.kinds.position_embedding import PositionEmbedding

__all__ = [
    "TRILINEAR",
    "frames_as_channels",
    "has_frames",
    "notes_of_frames",
    "place_in_row",
    "row_of_frames",
    "space_alone",
]

_AXES: Final = 3
_IN_A_ROW: Final = (
    "side by side in one row: column t·W + x is column x of frame t; numbers of neighbours and "
    "distances count frames, rows and columns apart, and know no seam between two frames"
)
_KEPT: Final = (
    "frames are kept: each is resampled for itself, by the rule for planes, and is a group of "
    "channels here"
)

TRILINEAR: Final = "With --method bilinear the whole is trilinear."
"""How the note on another number of frames ends."""


def row_of_frames(pe: PositionEmbedding, question: str) -> PositionEmbedding:
    """Return an embedding with its frames side by side; one without frames as it is.

    Args:
        pe: whose grid may have three axes.
        question: what was asked, as it is named on the command line.

    Raises:
        UndecidedGrid: nothing tells the grid.
        UsageError: vectors by offset have no places to lay in a row.
    """
    if not has_frames(pe):
        pe.require_flat_grid(question)
        return pe
    _refuse_offsets(pe, question)
    frames, height, width = _sides(pe.tables[0])
    note = f"{frames} frames of {height}×{width} stand {_IN_A_ROW}"
    tables = tuple(map(_side_by_side, pe.tables))
    return replace(pe, tables=tables, notes=(*pe.notes, note))


def place_in_row(pe: PositionEmbedding, token: Sequence[int] | None) -> Sequence[int] | None:
    """Return where a patch (frame, row, column) is when frames stand in a row; others as they are.

    Args:
        pe: before its frames were laid out.
        token: of a patch; two numbers are of the row of frames itself.

    Raises:
        UsageError: there is no such frame, or no such patch in it.
    """
    if token is None or len(token) != _AXES:
        return token
    asked, sides = f"--token {','.join(map(str, token))}", _sides(pe.tables[0])
    if len(sides) != _AXES:
        raise UsageError(f"{asked} names a frame, and this table has none. Pass --token R,C.")
    if not all(0 <= at < side for at, side in zip(token, sides)):
        last = ", ".join(f"0–{side - 1}" for side in sides)
        raise UsageError(
            f"{asked} is outside {grid_words(pe.grid_size)}: frame, row, column {last}."
        )
    frame, row, column = token
    return row, frame * sides[2] + column


def frames_as_channels(pe: PositionEmbedding, question: str) -> PositionEmbedding:
    """Return an embedding whose frames are channels of one plane; one without frames as it is.

    Raises:
        UndecidedGrid: nothing tells the grid.
        UsageError: only tables of vectors, and of biases by offset, divide into frames.
    """
    if not has_frames(pe):
        pe.require_flat_grid(question)
        return pe
    _refuse_offsets(pe, question)
    tables = tuple(_folded(table, question) for table in pe.tables)
    frames = _sides(pe.tables[0])[0]
    note = f"{frames} {_KEPT}"
    return replace(pe, tables=tables, norms=(), notes=(*pe.notes, note))


def has_frames(pe: PositionEmbedding) -> bool:
    """Whether any table lies on a grid of three axes."""
    return any(len(_sides(table)) == _AXES for table in pe.tables)


def notes_of_frames(pe: PositionEmbedding) -> tuple[str, ...]:
    """Return what was said of the frames of an embedding that was laid out."""
    return tuple(note for note in pe.notes if note.endswith((_IN_A_ROW, _KEPT, TRILINEAR)))


def space_alone(pe: PositionEmbedding, grid: Any) -> Any:
    """Return the (H, W) of a target (T, H, W) whose frames are those of the table.

    Raises:
        UsageError: the table has another number of frames, or none.
    """
    if not isinstance(grid, (tuple, list)) or len(grid) != _AXES:
        return grid
    own = _sides(pe.tables[0])
    if len(own) != _AXES or own[0] != grid[0]:
        kept = f"--grid {own[0]}xHxW" if len(own) == _AXES else "--grid HxW"
        raise UsageError(
            f"--grid {'x'.join(map(str, grid))}: time is kept, and this table is of "
            f"{grid_words(pe.grid_size)}. Pass {kept}."
        )
    return tuple(grid[1:])


def _sides(table: LayerPE) -> tuple[int, ...]:
    grid: Any = table.grid_size
    return tuple(grid or ())


def _refuse_offsets(pe: PositionEmbedding, question: str) -> None:
    if pe.scheme_kind.is_by_offset and not pe.scheme_kind.is_pairwise:
        raise UsageError(
            f"{question}: vectors by the offset along three axes ({grid_words(pe.grid_size)}) "
            "belong to no place, and are not laid out in frames. info describes them."
        )


def _side_by_side(table: LayerPE) -> LayerPE:
    if len(_sides(table)) != _AXES:
        return table
    frames, height, width = _sides(table)
    places = np.arange(table.num_patches).reshape(frames, height, width)
    order = places.transpose(1, 0, 2).ravel() + table.num_prefix_rows
    whole = np.concatenate([np.arange(table.num_prefix_rows), order])
    held: Any = table.held
    if isinstance(held, Lookup):
        moved: Any = Lookup(held.table, held.index[np.ix_(whole, whole)])
    elif table.is_pairwise:
        moved = held[:, whole][:, :, whole]
    else:
        moved = np.take(held, whole, axis=-2)
    grid, prefix = (height, frames * width), table.num_prefix_rows
    return LayerPE(table.layer, moved, grid, prefix, table.part, frames)


def _folded(table: LayerPE, question: str) -> LayerPE:
    frames, height, width = _sides(table)
    held: Any = table.held
    if isinstance(held, Lookup):
        folded = _folded_lookup(held, frames, height, width)
        return LayerPE.from_lookup(table.layer, folded, (height, width), 0, table.part)
    if held.ndim != len(("rows", "channels")):
        raise UsageError(
            f"{question}: {table.name} of {grid_words(table.grid_size)} is a matrix of pairs, "
            "which does not divide into frames."
        )
    prefix = np.tile(table.prefix, (1, frames))
    patches = table.patches.reshape(frames, height * width, -1).transpose(1, 0, 2)
    rows = np.concatenate([prefix, patches.reshape(height * width, -1)])
    return LayerPE(table.layer, rows, (height, width), table.num_prefix_rows, table.part)


def _folded_lookup(held: Lookup, frames: int, height: int, width: int) -> Lookup:
    """Return the bias of one frame's pairs, a head for each head and offset in time."""
    planes, offsets = 2 * frames - 1, (2 * height - 1) * (2 * width - 1)
    table = held.table[:, : planes * offsets].reshape(-1, offsets)
    first = held.index[-frames * height * width :][: height * width]
    pairs = first[:, -frames * height * width :][:, : height * width] % offsets
    return Lookup(table, np.ascontiguousarray(pairs))
