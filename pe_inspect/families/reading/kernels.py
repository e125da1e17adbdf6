"""Depthwise kernels as carriers of position: what they add to a constant input, and why.

A convolution is the same everywhere; on an input without content, position can only come from the
border. So the response to ones shows what zero padding tells a model, and the same convolution
with circular padding shows that nothing else does.

Sources: arXiv:2102.10882 (CPVT), section 3; arXiv:2001.08248 (Islam et al.), on zero padding.
"""

from __future__ import annotations

from math import prod
from typing import Literal

import numpy as np

from pe_inspect.arrays import Float32

__all__ = ["by_offset", "padding_share", "response", "without_skip"]


def response(
    kernel: Float32[np.ndarray, "channels 1 *taps"],
    bias: Float32[np.ndarray, " channels"],
    grid_size: tuple[int, ...],
    padding: Literal["zeros", "circular"] = "zeros",
) -> Float32[np.ndarray, "patches channels"]:
    """Return what a depthwise convolution gives for an input of ones, row-major.

    Args:
        kernel: one a channel.
        bias: one a channel.
        grid_size: (H, W) or (T, H, W) of the input, and of the output: an axis of the kernel each.
        padding: `"circular"` is the ablation: without a border every patch gets the same.
    """
    weights = kernel[:, 0].astype(np.float64)
    if padding == "circular":
        everywhere = weights.reshape(len(weights), -1).sum(axis=1) + bias
        return np.tile(everywhere, (prod(grid_size), 1)).astype(np.float32)
    sums = weights
    for side, taps in zip(grid_size, weights.shape[1:]):  # the next axis goes to the end, summed
        sums = np.tensordot(sums, _inside(side, taps), axes=([1], [1]))
    return np.asarray((np.moveaxis(sums, 0, -1) + bias).reshape(-1, len(weights)), np.float32)


def padding_share(
    kernel: Float32[np.ndarray, "channels 1 rows columns"],
    bias: Float32[np.ndarray, " channels"],
    grid_size: tuple[int, int],
) -> float:
    """Return ‖e − c‖ / ‖e‖: e is the response to ones, c the same with circular padding."""
    padded = response(kernel, bias, grid_size)
    ablated = response(kernel, bias, grid_size, "circular")
    whole = float(np.linalg.norm(padded))
    return float(np.linalg.norm(padded - ablated)) / whole if whole else 0.0


def without_skip(
    kernel: Float32[np.ndarray, "channels 1 rows columns"],
) -> Float32[np.ndarray, "channels 1 rows columns"]:
    """Take the identity out of a kernel into which a skip connection was folded."""
    rows, columns = kernel.shape[2] // 2, kernel.shape[3] // 2
    alone = kernel.copy()
    alone[:, 0, rows, columns] -= 1
    return alone


def by_offset(
    kernel: Float32[np.ndarray, "channels 1 rows columns *_"],
) -> Float32[np.ndarray, "offsets channels"]:
    """Return a kernel as one row an offset, key − query, row-major from the least on."""
    return np.ascontiguousarray(kernel.reshape(len(kernel), -1).T)


def _inside(side: int, taps: int) -> Float32[np.ndarray, "side taps"]:
    """Which taps of a kernel fall inside the grid, at each place along one axis."""
    reached = np.arange(side)[:, None] + np.arange(taps) - taps // 2
    return ((reached >= 0) & (reached < side)).astype(np.float32)
