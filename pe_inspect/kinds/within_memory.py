"""Grids whose maps of pairs do not fit into memory: every second or third row and column of them.

A map has the square of the number of patches: that of a 200×200 grid takes 6.4 GB, and a question
holds several at once. What is left out is said in a note, and never silently.
"""

from __future__ import annotations

from dataclasses import replace
from math import ceil, sqrt
from typing import Any, Final

import numpy as np

from pe_inspect.kinds.held_values import Lookup
from pe_inspect.kinds.parts import LayerPE, grid_words
from pe_inspect.kinds.position_embedding import PositionEmbedding

__all__ = ["MAX_MEMORY", "notes_of_sampling", "stride_of", "within_memory"]

MAX_MEMORY: Final = 2_000_000_000
"""Bytes that the maps of a question may take."""
MAPS_AT_ONCE: Final = 6  # float32 maps, or what takes as much: a layer's, the one before, products
_BYTES: Final = 4 * MAPS_AT_ONCE
_SAID: Final = (
    "so that maps of pairs stay within --max-memory: neighbours in the maps are that far apart on "
    "the model's own grid"
)


def within_memory(pe: PositionEmbedding, max_memory: int | None = None) -> PositionEmbedding:
    """Return an embedding on evenly spaced rows and columns of its grid; a small one as it is.

    Args:
        pe: its tables have a row a patch, or are biases of pairs of them.
        max_memory: bytes for maps; 2 GB where left out.
    """
    most = max_memory or MAX_MEMORY
    strides = [stride_of(table, most) for table in pe.tables]
    if max(strides, default=1) == 1 or _is_by_offset(pe):
        return pe
    tables = tuple(map(_sampled, pe.tables, strides))
    first, step = pe.tables[0], max(strides)
    note = (
        f"every {step}. row and column of {first.grid_words} was taken, "
        f"{grid_words(tables[0].grid_size)} patches, {_SAID}"
    )
    return replace(pe, tables=tables, notes=(*pe.notes, note))


def notes_of_sampling(pe: PositionEmbedding) -> tuple[str, ...]:
    """Return what was said of the rows and columns that were taken."""
    return tuple(note for note in pe.notes if note.endswith(_SAID))


def stride_of(table: LayerPE, max_memory: int | None = None) -> int:
    """Return of how many rows, and columns, one is taken."""
    most = sqrt((max_memory or MAX_MEMORY) / _BYTES)
    grid: Any = table.grid_size
    if grid is None or len(grid) != 2 or table.num_patches <= most:
        return 1
    return ceil(sqrt(table.num_patches / most))


def _is_by_offset(pe: PositionEmbedding) -> bool:
    return pe.scheme_kind.is_by_offset and not pe.scheme_kind.is_pairwise


def _sampled(table: LayerPE, stride: int) -> LayerPE:
    grid: Any = table.grid_size
    if stride == 1:
        return table
    places = np.arange(table.num_patches).reshape(grid[0], table.num_frames, -1)
    taken = places[::stride, :, ::stride]
    prefix = np.arange(table.num_prefix_rows)
    whole = np.concatenate([prefix, taken.ravel() + table.num_prefix_rows])
    sides = (taken.shape[0], taken.shape[1] * taken.shape[2])
    rows = (sides, table.num_prefix_rows, table.part, table.num_frames)
    return LayerPE(table.layer, _of_places(table, whole), *rows)


def _of_places(table: LayerPE, whole: np.ndarray) -> Any:
    held: Any = table.held
    if isinstance(held, Lookup):
        return Lookup(held.table, held.index[np.ix_(whole, whole)])
    if table.is_pairwise:
        return held[:, whole][:, :, whole]
    return np.take(held, whole, axis=-2)
