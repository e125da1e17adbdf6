"""Where target cells lie on the source, and the weights that kernels give to source cells there.

Each row of a matrix holds the weights of one target cell and sums to 1 (beside an edge of zeros, to
less). The centres of cells are
matched ("half-pixel"): target i of m lies at (i + ½)·n/m − ½ on a source of n cells.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from pe_inspect.arrays import Float

__all__ = ["Kernel", "centres", "corners", "middles", "taps_matrix", "triangle", "windowed_matrix"]

Kernel: TypeAlias = Callable[[np.ndarray], np.ndarray]


def centres(
    source: int, target: int, *, exact: bool, scale: float | None = None
) -> Float[np.ndarray, " target"]:
    """The centres of `target` cells, in units of `source` cells, counted from the first centre.

    Args:
        source: cells of the source.
        target: cells of the target.
        exact: in float64; else in float32, as PyTorch has them for a float32 table, rounded once:
            far along a long axis that moves a weight by up to 1e-5.
        scale: source cells a target cell, where that is not source/target.
    """
    step = _rounded(source / target if scale is None else scale, exact=exact)
    return _rounded(_from_edge(target, step) - 0.5, exact=exact)


def middles(
    source: int, target: int, *, exact: bool, scale: float | None = None
) -> Float[np.ndarray, " target"]:
    """As `centres`, counted from the edge, and in float32 rounded there: as antialiasing does."""
    step = _rounded(source / target if scale is None else scale, exact=exact)
    return _rounded(_from_edge(target, step), exact=exact)


def corners(source: int, target: int, *, exact: bool) -> Float[np.ndarray, " target"]:
    """Target cells spread from the first source cell to the last: `align_corners=True`."""
    step = _rounded((source - 1) / (target - 1) if target > 1 else 0.0, exact=exact)
    return _rounded(np.arange(target) * step.astype(np.float64), exact=exact)


def taps_matrix(
    kernel: Kernel,
    radius: int,
    places: Float[np.ndarray, " target"],
    source: int,
    *,
    is_zero_beyond: bool = False,
) -> Float[np.ndarray, "target source"]:
    """Weights of the 2·radius nearest cells; a cell beyond the edge is the edge cell, or zero.

    The kernel does not widen when the grid shrinks: this is resampling without antialiasing.
    Distances, and so the weights, have the precision of the places.
    """
    first = np.floor(places)[:, None]
    past, steps = places[:, None] - first, np.arange(radius, dtype=places.dtype)
    distance = np.concatenate([past + steps[::-1], 1 - past + steps], axis=1)  # (target, taps)
    cells = first.astype(int) - radius + 1 + np.arange(2 * radius)
    weights = kernel(distance)
    if is_zero_beyond:
        weights = np.where((cells >= 0) & (cells < source), weights, 0)
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
        places: of the target cells, from the edge; weights have their precision.
        source: cells of the source.
        stretch: source cells a target cell; below 1 the kernel keeps its width.
    """
    cells = np.arange(source) + 0.5
    shrink = 1 / places.dtype.type(max(stretch, 1.0))
    distance = (cells - places[:, None]).astype(places.dtype) * shrink
    weights = np.where(np.abs(distance) < radius, kernel(distance), 0.0).astype(np.float64)
    matrix: np.ndarray = weights / weights.sum(axis=1, keepdims=True)
    return matrix


def triangle(x: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    """The kernel of linear interpolation."""
    height: np.ndarray = np.maximum(1 - np.abs(x), 0)
    return height


def _from_edge(target: int, step: Float[np.ndarray, ""]) -> Float[np.ndarray, " target"]:
    places: np.ndarray = (np.arange(target) + 0.5) * step.astype(np.float64)
    return places


def _rounded(value: np.ndarray | float, *, exact: bool) -> Float[np.ndarray, "..."]:
    return np.asarray(value, np.float64 if exact else np.float32)
