"""Where target cells lie on the source, and the weights that kernels give to source cells there.

Each row of a matrix holds the weights of one target cell and sums to 1. The centres of cells are
matched ("half-pixel"): target i of m lies at (i + ½)·n/m − ½ on a source of n cells.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from pe_inspect._typing import Float

__all__ = ["Kernel", "centres", "corners", "taps_matrix", "triangle", "windowed_matrix"]

Kernel: TypeAlias = Callable[[np.ndarray], np.ndarray]


def centres(
    source: int, target: int, *, exact: bool, scale: float | None = None
) -> Float[np.ndarray, " target"]:
    """The centres of `target` cells, in units of `source` cells.

    Args:
        source: cells of the source.
        target: cells of the target.
        exact: in float64; else in float32, as PyTorch has them for a float32 table: far along a
            long axis that moves a weight by up to 1e-5.
        scale: source cells a target cell, where that is not source/target.
    """
    step = source / target if scale is None else scale
    places: np.ndarray = (np.arange(target) + 0.5) * _rounded(step, exact=exact) - 0.5
    return _rounded(places, exact=exact)


def corners(source: int, target: int, *, exact: bool) -> Float[np.ndarray, " target"]:
    """Target cells spread from the first source cell to the last: `align_corners=True`."""
    step = (source - 1) / (target - 1) if target > 1 else 0.0
    places: np.ndarray = np.arange(target) * _rounded(step, exact=exact)
    return _rounded(places, exact=exact)


def taps_matrix(
    kernel: Kernel, radius: int, places: Float[np.ndarray, " target"], source: int
) -> Float[np.ndarray, "target source"]:
    """Weights of the 2·radius nearest cells; a cell beyond the edge is the edge cell.

    The kernel does not widen when the grid shrinks: this is resampling without antialiasing.
    """
    first = np.floor(places).astype(int) - radius + 1
    cells = first[:, None] + np.arange(2 * radius)  # (target, taps)
    weights = kernel(cells - places[:, None])
    matrix = np.zeros((len(places), source))
    rows = np.broadcast_to(np.arange(len(places))[:, None], cells.shape)
    np.add.at(matrix, (rows, cells.clip(0, source - 1)), weights)
    return matrix


def windowed_matrix(
    kernel: Kernel, radius: int, places: Float[np.ndarray, " target"], source: int, stretch: float
) -> Float[np.ndarray, "target source"]:
    """Weights of every cell under a kernel that widens as the grid shrinks: antialiasing.

    Cells beyond the edge do not take part; the weights of the others are scaled to sum to 1.
    PyTorch does the same, but for targets of width 1, down which it repeats the first value (2.15).

    Args:
        kernel: of distances.
        radius: beyond which it is zero.
        places: of the target cells.
        source: cells of the source.
        stretch: source cells a target cell; below 1 the kernel keeps its width.
    """
    distance = (np.arange(source) - places[:, None]) / max(stretch, 1.0)
    weights = np.where(np.abs(distance) < radius, kernel(distance), 0.0)
    matrix: np.ndarray = weights / weights.sum(axis=1, keepdims=True)
    return matrix


def triangle(x: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    """The kernel of linear interpolation."""
    height: np.ndarray = np.maximum(1 - np.abs(x), 0.0)
    return height


def _rounded(value: np.ndarray | float, *, exact: bool) -> np.ndarray:
    return np.asarray(value) if exact else np.asarray(value, np.float32).astype(np.float64)
