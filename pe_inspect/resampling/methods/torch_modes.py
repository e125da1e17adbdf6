"""The modes of `torch.nn.functional.interpolate`, restated as matrices.

Keys' cubic convolution has a = −0.75 in PyTorch without antialiasing, and a = −0.5 with it.
Source: R. Keys, "Cubic convolution interpolation for digital image processing", 1981, Eq. 15.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from pe_inspect.arrays import Float, Num
from pe_inspect.resampling.matrices import (
    centres,
    corners,
    middles,
    taps_matrix,
    triangle,
    windowed_matrix,
)
from pe_inspect.resampling.registering import separable
from pe_inspect.resampling.resampler import Separable, Size, Table, Whole

__all__ = [
    "align_corners", "area", "bicubic", "bicubic_aa", "bilinear", "bilinear_aa",
    "bilinear_align_corners", "bilinear_zeros_turned", "cubic", "cubic_antialiased", "nearest",
    "nearest_exact",
]  # fmt: skip

SOURCE: Final = "torch.nn.functional.interpolate"


@separable(
    "bicubic",
    call="size=(H, W), mode='bicubic', align_corners=False, antialias=False",
    source=SOURCE,
)
def bicubic(source: int, target: int, exact: bool) -> Float[np.ndarray, "target source"]:
    """Cubic convolution of the 4×4 nearest cells, edges repeated; no antialiasing."""
    return taps_matrix(cubic, 2, centres(source, target, exact=exact), source)


@separable(
    "bicubic-aa",
    call="size=(H, W), mode='bicubic', align_corners=False, antialias=True",
    source=SOURCE,
)
def bicubic_aa(source: int, target: int, exact: bool) -> Float[np.ndarray, "target source"]:
    """Cubic convolution whose kernel widens when the grid shrinks."""
    places = middles(source, target, exact=exact)
    return windowed_matrix(cubic_antialiased, 2, places, source, source / target)


@separable(
    "bilinear",
    call="size=(H, W), mode='bilinear', align_corners=False, antialias=False",
    source=SOURCE,
)
def bilinear(source: int, target: int, exact: bool) -> Float[np.ndarray, "target source"]:
    """The 2×2 nearest cells, weighted by distance, edges repeated; no antialiasing."""
    return taps_matrix(triangle, 1, centres(source, target, exact=exact), source)


def _bilinear_zeros(source: int, target: int, exact: bool) -> Float[np.ndarray, "target source"]:
    places = centres(source, target, exact=exact)
    return taps_matrix(triangle, 1, places, source, is_zero_beyond=True)


def _turned(table: Table, size: Size) -> Table:
    rows, columns = size
    made = Separable("bilinear-zeros", _bilinear_zeros)(table, (columns, rows))
    return made.reshape(rows, columns, -1)


bilinear_zeros_turned: Final = Whole("bilinear-zeros-turned", _turned)
"""Bilinear with zeros beyond the edges, on W×H cells, which patch after patch of H×W then takes."""


@separable(
    "bilinear-aa",
    call="size=(H, W), mode='bilinear', align_corners=False, antialias=True",
    source=SOURCE,
)
def bilinear_aa(source: int, target: int, exact: bool) -> Float[np.ndarray, "target source"]:
    """A triangle kernel that widens when the grid shrinks."""
    places = middles(source, target, exact=exact)
    return windowed_matrix(triangle, 1, places, source, source / target)


@separable(
    "align-corners", call="size=(H, W), mode='bicubic', align_corners=True", source=SOURCE
)  # fmt: skip
def align_corners(source: int, target: int, exact: bool) -> Float[np.ndarray, "target source"]:
    """Cubic convolution with the corner cells of both grids on each other."""
    return taps_matrix(cubic, 2, corners(source, target, exact=exact), source)


@separable(
    "bilinear-align-corners",
    call="size=(H, W), mode='bilinear', align_corners=True",
    source=SOURCE,
)
def bilinear_align_corners(
    source: int, target: int, exact: bool
) -> Float[np.ndarray, "target source"]:
    """Linear, with the corner cells of both grids on each other."""
    return taps_matrix(triangle, 1, corners(source, target, exact=exact), source)


@separable("area", call="size=(H, W), mode='area'", source=SOURCE)
def area(source: int, target: int, exact: bool) -> Float[np.ndarray, "target source"]:
    """The mean of every source cell that a target cell touches, each counted whole."""
    del exact  # whole cells only
    target_cell, cell = np.arange(target)[:, None], np.arange(source)
    touched = (cell >= target_cell * source // target) & (
        cell < -(-(target_cell + 1) * source // target)
    )
    matrix: np.ndarray = touched / touched.sum(axis=1, keepdims=True)
    return matrix


@separable("nearest", call="size=(H, W), mode='nearest'", source=SOURCE)
def nearest(source: int, target: int, exact: bool) -> Float[np.ndarray, "target source"]:
    """The cell under a target cell's upper left corner: half a cell off the centre."""
    return _picked(np.arange(target), source, target, exact=exact)


@separable("nearest-exact", call="size=(H, W), mode='nearest-exact'", source=SOURCE)
def nearest_exact(source: int, target: int, exact: bool) -> Float[np.ndarray, "target source"]:
    """The cell under a target cell's centre."""
    return _picked(np.arange(target) + 0.5, source, target, exact=exact)


def _picked(
    places: Num[np.ndarray, " target"], source: int, target: int, *, exact: bool
) -> Float[np.ndarray, "target source"]:
    real = np.dtype(np.float64 if exact else np.float32)
    sides = np.array([source, target], real)
    cells = np.floor(places.astype(real) * (sides[0] / sides[1])).astype(int)
    chosen: np.ndarray = np.eye(source)[np.minimum(cells, source - 1)]
    return chosen


def cubic(x: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    """PyTorch's kernel without antialiasing."""
    return _keys(x, -0.75)


def cubic_antialiased(x: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    """PyTorch's kernel with antialiasing, and Pillow's."""
    return _keys(x, -0.5)


def _keys(x: Float[np.ndarray, "..."], a: float) -> Float[np.ndarray, "..."]:
    x = np.abs(x)
    near = _fused(_fused(_fused(a + 2, x, -(a + 3)), x, 0.0), x, 1.0)
    far = _fused(_fused(_fused(a, x, -5 * a), x, 8 * a), x, -4 * a)
    return np.where(x <= 1, near, np.where(x < 2, far, 0))


def _fused(
    factor: Float[np.ndarray, "..."] | float, x: Float[np.ndarray, "..."], added: float
) -> Float[np.ndarray, "..."]:
    """Return factor·x + added in the precision of x, rounded once: a fused multiply-add.

    PyTorch's kernels are compiled to it. Rounded twice, a cubic weight would be off by 1e-6.
    """
    made: np.ndarray = np.asarray(factor, np.float64) * x.astype(np.float64) + added
    return made.astype(x.dtype)
