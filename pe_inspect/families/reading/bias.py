"""From a table of offsets to the bias that is added to the attention logits of every token pair.

The index is computed here and never read: files carry it as a buffer that may be of another window.
Sources: arXiv:2103.14030 (Swin), section 3.2; arXiv:2106.08254 (BEiT), which appends three rows;
arXiv:2104.01136 (LeViT), section 4.2, whose tables know distances only.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from pe_inspect.arrays import Int
from pe_inspect.families.reading.bias_tables import CLS_ROWS
from pe_inspect.families.reading.grid import factor_pairs

__all__ = ["cls_tokens", "distance_index", "offset_index", "windows_of"]


@lru_cache(maxsize=8)
def offset_index(window: tuple[int, int], num_prefix: int = 0) -> Int[np.ndarray, "tokens tokens"]:
    """Return which row of the table each (query, key) pair takes.

    Row (Δy + H − 1)·(2W − 1) + (Δx + W − 1), with Δ = query − key.

    Args:
        window: (H, W).
        num_prefix: 1 for BEiT's CLS token, else 0.
    """
    height, width = window
    down, right = _differences(window)
    index = (down + height - 1) * (2 * width - 1) + right + width - 1
    if num_prefix:
        rows = (2 * height - 1) * (2 * width - 1)
        index = np.pad(index, ((1, 0), (1, 0)))
        index[0, :], index[:, 0], index[0, 0] = rows, rows + 1, rows + 2
    return _kept(index)


@lru_cache(maxsize=8)
def distance_index(grid: tuple[int, int]) -> Int[np.ndarray, "patches patches"]:
    """Return which entry of a table of distances each (query, key) pair takes: |Δy|·W + |Δx|."""
    down, right = _differences(grid)
    return _kept(np.abs(down) * grid[1] + np.abs(right))


def _differences(
    grid: tuple[int, int],
) -> tuple[Int[np.ndarray, "patches patches"], Int[np.ndarray, "patches patches"]]:
    """Return how far, in rows and in columns, each query lies behind each key."""
    y, x = (axis.ravel() for axis in np.indices(grid))
    return y[:, None] - y[None, :], x[:, None] - x[None, :]


def _kept(index: Int[np.ndarray, "tokens tokens"]) -> Int[np.ndarray, "tokens tokens"]:
    """Return an index that many blocks will share: small, and not to be written to."""
    kept = index.astype(np.int32)
    kept.flags.writeable = False
    return kept


def windows_of(rows: int, tokens: int | None = None) -> list[tuple[int, int]]:
    """Return every window (H, W) whose table has so many rows, the squarest first.

    Args:
        rows: of the table. (2H − 1)(2W − 1) is odd, so an even number tells BEiT's three rows.
        tokens: the window's tokens, CLS included, where something in the file tells them.
    """
    num_prefix = cls_tokens(rows)
    pairs = factor_pairs(rows - CLS_ROWS * num_prefix)
    either = (((a + 1) // 2, (b + 1) // 2) for pair in pairs for a, b in (pair, pair[::-1]))
    windows = dict.fromkeys(either)
    return [w for w in windows if tokens in (None, w[0] * w[1] + num_prefix)]


def cls_tokens(rows: int) -> int:
    """Return 1 where a table of so many rows has BEiT's three for CLS, else 0."""
    return 1 - rows % 2
