"""A patch-embedding kernel for another patch size: PI-resize."""

from __future__ import annotations

import numpy as np

from pe_inspect.arrays import Float
from pe_inspect.errors import UsageError
from pe_inspect.resampling.resampler import Resampler

__all__ = ["pi_resize"]


def pi_resize(
    kernel: Float[np.ndarray, "embed_dim channels height width"],
    patch_size: tuple[int, int],
    resampler: Resampler,
) -> Float[np.ndarray, "embed_dim channels new_height new_width"]:
    """Return the kernel whose answer to a resized patch is nearest to the old one to the patch.

    With B the matrix that resizes a patch, it is w′ = pinv(Bᵀ)·w: exact where patches grow, the
    least squares over patches of white noise where they shrink. B is the Kronecker product of one
    matrix an axis, and so is its pseudo-inverse.

    Args:
        kernel: of a convolution, as PyTorch stores it.
        patch_size: the new (height, width), in pixels.
        resampler: how patches are resized: timm takes `bicubic-aa`, big_vision `bilinear`.

    Raises:
        UsageError: the kernel has other axes, a side is under one pixel, or the method is not
            separable.

    Source: FlexiViT, arXiv:2212.08013, Eq. 2.
    """
    if kernel.ndim != 4 or 0 in kernel.shape:
        raise UsageError(
            f"A patch kernel is (embed_dim, channels, height, width), not of shape {kernel.shape}."
        )
    height, width = patch_size
    if min(height, width) < 1:
        raise UsageError(f"A patch of {height}×{width} pixels: both sides must be at least 1.")
    sides: tuple[int, int] = kernel.shape[2:]
    matrices = resampler.matrices(sides, patch_size)
    if matrices is None:
        raise UsageError(
            f"{resampler.name} is not separable, so that patches are not resized by it. "
            "Use bicubic-aa (timm) or bilinear (big_vision)."
        )
    rows, columns = (np.linalg.pinv(matrix) for matrix in matrices)  # (old, new)
    resized = np.einsum("edhw,hi,wj->edij", kernel.astype(np.float64), rows, columns, optimize=True)
    return np.asarray(resized, kernel.dtype)
