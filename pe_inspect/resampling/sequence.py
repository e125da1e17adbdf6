"""Resampling of the flattened sequence, which knows no rows."""

from __future__ import annotations

from typing import Final

import numpy as np

from pe_inspect.errors import UsageError
from pe_inspect.resampling.apply import support
from pe_inspect.resampling.methods.torch_modes import bicubic, bilinear
from pe_inspect.resampling.patch_numbers import (
    by_number,
    is_along_sequence,
    patch_numbers,
)
from pe_inspect.resampling.resampler import Size, Table, Whole

__all__ = ["along_sequence", "flattened"]

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
"""The rule of transformers' ViTMAE decoder."""


def _along_sequence(offsets: Table, size: Size) -> Table:
    numbers = patch_numbers(size)
    made = bilinear(by_number(offsets)[None], (1, int(numbers.max()) + 1))
    return np.asarray(made[0][numbers])


def _refuse_rows(offsets: Table, _size: Size) -> None:
    if not is_along_sequence(offsets):
        raise UsageError(
            "--method sequence resamples a bias by difference of patch numbers, and this one tells "
            "rows from columns. Use --method swin, beit or timm."
        )


along_sequence: Final = Whole("sequence-linear", _along_sequence, _refuse_rows)
"""The rule of our models' `rel_bias_1d`."""
