"""Resamplers of signal processing: lines, Lanczos' window, cubic splines, the Fourier series."""

from __future__ import annotations

from typing import Final

import numpy as np

from pe_inspect.arrays import Float, Int
from pe_inspect.resampling.matrices import (
    centres,
    corners,
    middles,
    taps_matrix,
    triangle,
    windowed_matrix,
)
from pe_inspect.resampling.registering import separable

__all__ = ["fourier", "lanczos", "series", "spline", "zoom"]

LOBES: Final = 3


@separable(
    "lanczos",
    call="resample=LANCZOS: 3 lobes, antialiased",
    source="PIL.Image.Image.resize; jax.image.resize(method='lanczos3')",
)
def lanczos(source: int, target: int, exact: bool) -> Float[np.ndarray, "target source"]:
    """A windowed sinc that widens when the grid shrinks."""
    del exact  # Pillow places cells in float64
    places = middles(source, target, exact=True)
    return windowed_matrix(_windowed_sinc, LOBES, places, source, source / target)


def _windowed_sinc(x: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    return np.asarray(np.sinc(x) * np.sinc(x / LOBES))


@separable("zoom", call="order=1, mode='constant', grid_mode=False", source="scipy.ndimage.zoom")
def zoom(source: int, target: int, exact: bool) -> Float[np.ndarray, "target source"]:
    """Linear, with the corner cells of both grids on each other, which scipy places in float64.

    PyTorch's `bilinear-align-corners` is the same but for float32 places: up to 1e-5 of a table of
    unit variance. On sizes like 16 to 30 rounding takes scipy's last place beyond the last cell,
    and it writes 0 there; here the last cell is read.
    """
    del exact
    return taps_matrix(triangle, 1, corners(source, target, exact=True), source)


@separable(
    "spline",
    call="order=3, mode='reflect', grid_mode=True",
    source="scipy.ndimage.zoom",
)
def spline(source: int, target: int, exact: bool) -> Float[np.ndarray, "target source"]:
    """The cubic spline through all cells, mirrored at the edges; no antialiasing."""
    del exact  # scipy places cells in float64
    at_cells = _basis(np.arange(source, dtype=np.float64), source)
    at_targets = _basis(centres(source, target, exact=True), source)
    matrix: np.ndarray = np.linalg.solve(at_cells.T, at_targets.T).T
    return matrix


def _basis(places: Float[np.ndarray, " places"], source: int) -> Float[np.ndarray, "places source"]:
    """The value of each cell's cubic B-spline, and of its mirror images, at `places`."""
    first = np.floor(places).astype(int) - 1
    cells = first[:, None] + np.arange(4)
    matrix = np.zeros((len(places), source))
    rows = np.broadcast_to(np.arange(len(places))[:, None], cells.shape)
    np.add.at(matrix, (rows, _mirrored(cells, source)), _cubic_b(cells - places[:, None]))
    return matrix


def _mirrored(cells: Int[np.ndarray, "..."], source: int) -> Int[np.ndarray, "..."]:
    """Continue a b c d as d c b a | a b c d | d c b a."""
    wrapped = cells % (2 * source)
    return np.asarray(np.minimum(wrapped, 2 * source - 1 - wrapped))


def _cubic_b(x: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    x = np.abs(x)
    near = 2 / 3 - x**2 + x**3 / 2
    return np.where(x < 1, near, np.maximum(2 - x, 0) ** 3 / 6)


@separable(
    "fourier",
    call="the Fourier series of each axis, taken as periodic: zero-padded or cut, read at centres",
    source="scipy.signal.resample, whose first cell stays in place instead",
)
def fourier(source: int, target: int, exact: bool) -> Float[np.ndarray, "target source"]:
    """Keep every frequency that both grids can hold, and nothing else.

    At the highest frequency of an even grid a series has only its cosine.
    """
    del exact
    return series(centres(source, target, exact=True), source, target)


def series(
    places: Float[np.ndarray, " target"], source: int, target: int
) -> Float[np.ndarray, "target source"]:
    """Return the weights of every source cell in its Fourier series, read at places."""
    turns = (places[:, None] - np.arange(source)) / source  # (target, source)
    whole = np.arange(1, (min(source, target) - 1) // 2 + 1)
    kept = 1 + 2 * np.cos(2 * np.pi * whole[:, None, None] * turns).sum(axis=0)
    if source % 2 == 0 and target >= source:
        kept = kept + np.cos(np.pi * places)[:, None] * np.cos(np.pi * np.arange(source))
    elif target % 2 == 0 and target < source:
        kept = kept + np.cos(np.pi * target * turns) * 2
    matrix: np.ndarray = kept / source
    return matrix
