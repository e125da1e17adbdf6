"""Offsets (Δy, Δx) as differences of patch numbers, rows after rows."""

from __future__ import annotations

import numpy as np

from pe_inspect.arrays import Int
from pe_inspect.resampling.resampler import Size, Table

__all__ = ["by_number", "is_along_sequence", "patch_numbers"]


def is_along_sequence(offsets: Table) -> bool:
    """Whether a table of offsets (Δy, Δx) is a function of the difference of patch numbers."""
    numbers = patch_numbers((offsets.shape[0], offsets.shape[1]))
    return np.array_equal(by_number(offsets)[numbers], offsets, equal_nan=True)


def patch_numbers(sides: Size) -> Int[np.ndarray, "offset_rows offset_columns"]:
    """Δy·W + Δx of every offset, counted from the least."""
    rows, columns = ((side + 1) // 2 for side in sides)
    down, right = np.arange(1 - rows, rows), np.arange(1 - columns, columns)
    return np.asarray(down[:, None] * columns + right + rows * columns - 1)


def by_number(offsets: Table) -> Table:
    """The table as one row a difference."""
    numbers = patch_numbers((offsets.shape[0], offsets.shape[1]))
    table = np.empty((numbers.max() + 1, offsets.shape[2]), offsets.dtype)
    table[numbers] = offsets
    return table
