"""Separable resampling as two matrices, one an axis, applied in float64.

Each row of a matrix holds the weights of one target position and sums to 1. Positions are the
centres of cells ("half-pixel"): target i of m lies at (i + ½)·n/m − ½ on a source of n.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from pe_inspect._typing import Float, Shaped

__all__ = ["centres", "separable", "taps_matrix", "windowed_matrix"]

Kernel = Callable[[np.ndarray], np.ndarray]


def centres(source: int, target: int) -> Float[np.ndarray, " target"]:
    """The centres of `target` cells, in units of `source` cells.

    They are rounded to float32 because PyTorch's are: far along a long axis that moves a weight by
    up to 1e-5, which is more than the 1e-6 to which results are to agree.
    """
    scale = np.float64(np.float32(source) / np.float32(target))
    positions: np.ndarray = (np.arange(target) + 0.5) * scale - 0.5
    return positions.astype(np.float32).astype(np.float64)


def taps_matrix(
    kernel: Kernel, radius: int, source: int, target: int
) -> Float[np.ndarray, "target source"]:
    """Weights of the 2·radius nearest cells; a cell beyond the edge is the edge cell.

    The kernel does not widen when the grid shrinks: this is resampling without antialiasing.
    """
    position = centres(source, target)
    first = np.floor(position).astype(int) - radius + 1
    cells = first[:, None] + np.arange(2 * radius)  # (target, taps)
    weights = kernel(cells - position[:, None])
    matrix = np.zeros((target, source))
    rows = np.broadcast_to(np.arange(target)[:, None], cells.shape)
    np.add.at(matrix, (rows, cells.clip(0, source - 1)), weights)
    return matrix


def windowed_matrix(
    kernel: Kernel, radius: int, source: int, target: int
) -> Float[np.ndarray, "target source"]:
    """Weights of every cell under a kernel that widens as the grid shrinks: antialiasing.

    Cells beyond the edge do not take part; the weights of the others are scaled to sum to 1.
    PyTorch does the same, but for targets of width 1, down which it repeats the first value (2.15).
    """
    stretch = max(source / target, 1.0)
    distance = (np.arange(source) - centres(source, target)[:, None]) / stretch
    weights = np.where(np.abs(distance) < radius, kernel(distance), 0.0)
    matrix: np.ndarray = weights / weights.sum(axis=1, keepdims=True)
    return matrix


def separable(
    values: Float[np.ndarray, "rows columns channels"],
    along_rows: Float[np.ndarray, "new_rows rows"],
    along_columns: Float[np.ndarray, "new_columns columns"],
) -> Float[np.ndarray, "new_rows new_columns channels"]:
    """Apply one matrix an axis. A target value that draws on a NaN or infinite one is NaN."""
    missing = ~np.isfinite(values)
    if not missing.any():
        return _apply(values, along_rows, along_columns)
    resampled = _apply(np.where(missing, 0.0, values), along_rows, along_columns)
    touched = _apply(missing, _support(along_rows), _support(along_columns))
    resampled[touched > 0] = np.nan
    return resampled


def _apply(
    values: Shaped[np.ndarray, "rows columns channels"],
    along_rows: Float[np.ndarray, "new_rows rows"],
    along_columns: Float[np.ndarray, "new_columns columns"],
) -> Float[np.ndarray, "new_rows new_columns channels"]:
    rows, columns, channels = values.shape
    by_row = along_rows @ values.astype(np.float64).reshape(rows, columns * channels)
    result: np.ndarray = along_columns @ by_row.reshape(-1, columns, channels)
    return result


def _support(matrix: Float[np.ndarray, "target source"]) -> Float[np.ndarray, "target source"]:
    taking_part: np.ndarray = matrix != 0
    return taking_part.astype(np.float64)
