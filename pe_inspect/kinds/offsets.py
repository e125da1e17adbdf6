"""A relative-position bias as the table of offsets that it is made of, and back.

The bias of query patch q on key patch k depends on q − k alone, so that (heads, N, N) values hold
only (2H − 1)·(2W − 1) different ones a head. Prefix tokens (BEiT's CLS) have one value as query,
one as key, and one among themselves.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from pe_inspect.arrays import Float32, Int
from pe_inspect.errors import UsageError
from pe_inspect.kinds.parts import LayerPE

__all__ = ["OffsetTable", "offset_table"]

TOLERANCE: Final = 1e-5


@dataclass(frozen=True, eq=False)
class OffsetTable:
    """The bias of one layer by offset.

    Attributes:
        offsets: (2H − 1, 2W − 1, heads); entry [H − 1 + Δy, W − 1 + Δx] is for q − k = (Δy, Δx).
        query: bias of each prefix row on every patch, (heads, P).
        key: bias of every patch on each prefix row, (heads, P).
        among: bias among the prefix rows, (heads, P, P).
    """

    offsets: Float32[np.ndarray, "offset_rows offset_columns heads"]
    query: Float32[np.ndarray, "heads prefix"]
    key: Float32[np.ndarray, "heads prefix"]
    among: Float32[np.ndarray, "heads prefix prefix"]

    @property
    def grid_size(self) -> tuple[int, int]:
        """(H, W), from the (2H − 1, 2W − 1) offsets."""
        rows, columns, _ = self.offsets.shape
        return (rows + 1) // 2, (columns + 1) // 2

    def expanded(self) -> Float32[np.ndarray, "heads tokens tokens"]:
        """The bias between every two tokens, prefix rows first."""
        heads, num_prefix_rows = self.query.shape
        patches = patch_bias(self.offsets)
        bias = np.empty((heads, *(num_prefix_rows + n for n in patches.shape[1:])), np.float32)
        bias[:, num_prefix_rows:, num_prefix_rows:] = patches
        bias[:, :num_prefix_rows, num_prefix_rows:] = self.query[:, :, None]
        bias[:, num_prefix_rows:, :num_prefix_rows] = self.key[:, None, :]
        bias[:, :num_prefix_rows, :num_prefix_rows] = self.among
        return bias


def patch_bias(
    offsets: Float32[np.ndarray, "offset_rows offset_columns heads"],
) -> Float32[np.ndarray, "heads patches patches"]:
    """The bias between every two patches, (heads, H·W, H·W)."""
    rows, columns, heads = offsets.shape
    height, width = (rows + 1) // 2, (columns + 1) // 2
    by_axis = np.ix_(_differences(height).ravel(), _differences(width).ravel())
    pairs = offsets[by_axis].reshape(height, height, width, width, heads)
    num_patches = height * width
    by_head: np.ndarray = pairs.transpose(4, 0, 2, 1, 3)
    return by_head.reshape(heads, num_patches, num_patches)


def offset_table(table: LayerPE) -> OffsetTable:
    """Recover the table of offsets from the expanded bias of one layer.

    Raises:
        UsageError: the bias is not a function of the offset, so that no such table exists.
    """
    p = table.num_prefix_rows
    patches, values = table.patches, table.values
    found = OffsetTable(
        _read_offsets(patches, table.grid_size), values[:, :p, p], values[:, p, :p],
        values[:, :p, :p],
    )  # fmt: skip
    if not _same(found.expanded(), values):
        raise UsageError(
            f"The bias of {table.name} is not a function of the offset between two patches, "
            "so it has no table that could be resampled."
        )
    return found


def _read_offsets(
    patches: Float32[np.ndarray, "heads patches patches"], grid_size: tuple[int, int]
) -> Float32[np.ndarray, "offset_rows offset_columns heads"]:
    """Read each offset at the first pair that has it."""
    height, width = grid_size
    (query_rows, key_rows), (query_columns, key_columns) = _first_pair(height), _first_pair(width)
    queries = query_rows[:, None] * width + query_columns
    keys = key_rows[:, None] * width + key_columns
    return patches[:, queries, keys].transpose(1, 2, 0)


def _first_pair(
    side: int,
) -> tuple[Int[np.ndarray, " offsets"], Int[np.ndarray, " offsets"]]:
    """The first query and key, on one axis, for each of the offsets 1 − side … side − 1."""
    offset = np.arange(1 - side, side)
    return np.maximum(offset, 0), np.maximum(-offset, 0)


def _differences(side: int) -> Int[np.ndarray, "query key"]:
    place = np.arange(side)
    return place[:, None] - place + side - 1


def _same(
    found: Float32[np.ndarray, "heads tokens tokens"],
    given: Float32[np.ndarray, "heads tokens tokens"],
) -> bool:
    scale = float(np.max(np.abs(given), initial=0.0, where=np.isfinite(given)))
    return bool(np.allclose(found, given, rtol=0, atol=TOLERANCE * scale, equal_nan=True))
