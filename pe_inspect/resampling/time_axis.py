"""Another number of frames: tables of vectors, resampled along time alone.

No library's rule for time is known here. Time is taken linearly, centres of frames matched; with
`bilinear` in space that is trilinear interpolation of T×H×W.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

import numpy as np

from pe_inspect.errors import UsageError
from pe_inspect.kinds.frames import TRILINEAR, has_frames
from pe_inspect.kinds.parts import LayerPE, checked_grid, grid_words
from pe_inspect.kinds.position_embedding import PositionEmbedding
from pe_inspect.resampling.matrices import centres, taps_matrix, triangle

__all__ = ["at_frames"]

_AXES: Final = 3


def at_frames(pe: PositionEmbedding, grid: Any) -> PositionEmbedding:
    """Return an embedding with the frames of a target (T, H, W); as it is where these are its own.

    Args:
        pe: whose tables may have frames.
        grid: what was asked for; anything but three sides asks for no frames.

    Raises:
        UsageError: T is less than 1, or the tables are not of vectors.
    """
    is_asked = isinstance(grid, (tuple, list)) and len(grid) == _AXES
    if not is_asked or not has_frames(pe) or _frames(pe.tables[0]) == grid[0]:
        return pe
    _refuse(pe, grid)
    own = _frames(pe.tables[0])
    note = (
        f"{own} frames became {grid[0]}, linearly along time with the centres of frames matched, "
        "before each is resampled in space: no library's rule for time is known. "
        f"{TRILINEAR}"
    )
    tables = tuple(_resampled(table, grid[0]) for table in pe.tables)
    return replace(pe, tables=tables, notes=(*pe.notes, note))


def _refuse(pe: PositionEmbedding, grid: Any) -> None:
    asked = f"--grid {'x'.join(map(str, grid))}"
    if grid[0] < 1:
        raise UsageError(f"{asked}: there must be at least 1 frame.")
    if not pe.scheme_kind.has_token_rows or any(len(_sides(each)) != _AXES for each in pe.tables):
        own = _frames(pe.tables[0])
        raise UsageError(
            f"{asked}: only tables of vectors take another number of frames, and this one of "
            f"{grid_words(pe.grid_size)} is a {pe.scheme_kind.word}. Pass --grid {own}xHxW."
        )


def _resampled(table: LayerPE, frames: int) -> LayerPE:
    own, height, width = _sides(table)
    matrix = taps_matrix(triangle, 1, centres(own, frames, exact=True), own)
    patches = table.patches.reshape(own, -1).astype(np.float64)
    moved = (matrix @ patches).astype(np.float32).reshape(frames * height * width, -1)
    rows, grid = np.concatenate([table.prefix, moved]), checked_grid((frames, height, width))
    return LayerPE(table.layer, rows, grid, table.num_prefix_rows, table.part)


def _frames(table: LayerPE) -> int:
    return _sides(table)[0]


def _sides(table: LayerPE) -> tuple[int, ...]:
    grid: Any = table.grid_size
    return tuple(grid or (1,))
