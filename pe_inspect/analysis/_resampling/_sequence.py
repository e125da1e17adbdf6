"""Resampling of the flattened sequence, which knows no rows: transformers' ViTMAE decoder."""

from __future__ import annotations

from typing import Final

import numpy as np

from pe_inspect.analysis._resampling._apply import support
from pe_inspect.analysis._resampling._resampler import Size, Table, Whole
from pe_inspect.analysis._resampling.torch_modes import bicubic

__all__ = ["flattened"]

TAPS: Final = 4


def _flattened(table: Table, size: Size) -> Table:
    rows, columns, channels = table.shape
    target = size[0] * size[1]
    matrix = bicubic.axis(rows * columns, target, table.dtype == np.float64).astype(table.dtype)
    return _few_taps(matrix, table.reshape(-1, channels)).reshape(*size, channels)


def _few_taps(matrix: np.ndarray, values: np.ndarray) -> np.ndarray:
    """`matrix @ values` for a matrix with at most `TAPS` weights a row; NaN stays where it is."""
    taps = np.argsort(support(matrix) == 0, axis=1, kind="stable")[:, :TAPS]
    weights = np.take_along_axis(matrix, taps, axis=1)
    made = np.zeros((len(matrix), values.shape[1]), values.dtype)
    for k in range(taps.shape[1]):
        read = values[taps[:, k]]
        unread = weights[:, k] == 0
        read[unread] = 0
        made += read * weights[:, k, None]
    made[~np.isfinite(made)] = np.nan
    return made


flattened: Final = Whole("sequence-bicubic", _flattened)
