"""The modes of `torch.nn.functional.interpolate(size=…)`, restated as matrices.

Keys' cubic convolution has a = −0.75 in PyTorch without antialiasing, and a = −0.5 with it.
Source: R. Keys, "Cubic convolution interpolation for digital image processing", 1981, Eq. 15.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import numpy as np

from pe_inspect._typing import Float
from pe_inspect.analysis._resampling import resampling
from pe_inspect.analysis._resampling._matrices import separable, taps_matrix, windowed_matrix

__all__ = ["bicubic", "bicubic_aa", "bilinear", "bilinear_aa"]

SOURCE: Final = "torch.nn.functional.interpolate"
CUBIC: Final = -0.75
CUBIC_ANTIALIASED: Final = -0.5


@resampling(
    "bicubic",
    call="size=(H, W), mode='bicubic', align_corners=False, antialias=False",
    source=f"{SOURCE}; DeiT, MAE and LaPE's loaders; Swin's for its bias",
)
def bicubic(
    values: Float[np.ndarray, "rows columns channels"], grid_size: tuple[int, int]
) -> Float[np.ndarray, "new_rows new_columns channels"]:
    """Cubic convolution of the 4×4 nearest patches, edges repeated; no antialiasing."""
    return separable(values, *(_cubic_taps(*axis) for axis in zip(values.shape, grid_size)))


@resampling(
    "bicubic-aa",
    call="size=(H, W), mode='bicubic', align_corners=False, antialias=True",
    source=f"{SOURCE}; timm.layers.resample_abs_pos_embed's default",
)
def bicubic_aa(
    values: Float[np.ndarray, "rows columns channels"], grid_size: tuple[int, int]
) -> Float[np.ndarray, "new_rows new_columns channels"]:
    """Cubic convolution whose kernel widens when the grid shrinks."""
    return separable(values, *(_cubic_window(*axis) for axis in zip(values.shape, grid_size)))


@resampling(
    "bilinear",
    call="size=(H, W), mode='bilinear', align_corners=False, antialias=False",
    source=f"{SOURCE}; timm's loader of Google's .npz files",
)
def bilinear(
    values: Float[np.ndarray, "rows columns channels"], grid_size: tuple[int, int]
) -> Float[np.ndarray, "new_rows new_columns channels"]:
    """The 2×2 nearest patches, weighted by distance, edges repeated; no antialiasing."""
    return separable(values, *(_linear_taps(*axis) for axis in zip(values.shape, grid_size)))


@resampling(
    "bilinear-aa",
    call="size=(H, W), mode='bilinear', align_corners=False, antialias=True",
    source=f"{SOURCE}; SigLIP 2",
)
def bilinear_aa(
    values: Float[np.ndarray, "rows columns channels"], grid_size: tuple[int, int]
) -> Float[np.ndarray, "new_rows new_columns channels"]:
    """A triangle kernel that widens when the grid shrinks."""
    return separable(values, *(_linear_window(*axis) for axis in zip(values.shape, grid_size)))


@lru_cache(maxsize=64)
def _cubic_taps(source: int, target: int) -> Float[np.ndarray, "target source"]:
    return taps_matrix(lambda x: _keys(x, CUBIC), 2, source, target)


@lru_cache(maxsize=64)
def _cubic_window(source: int, target: int) -> Float[np.ndarray, "target source"]:
    return windowed_matrix(lambda x: _keys(x, CUBIC_ANTIALIASED), 2, source, target)


@lru_cache(maxsize=64)
def _linear_taps(source: int, target: int) -> Float[np.ndarray, "target source"]:
    return taps_matrix(_triangle, 1, source, target)


@lru_cache(maxsize=64)
def _linear_window(source: int, target: int) -> Float[np.ndarray, "target source"]:
    return windowed_matrix(_triangle, 1, source, target)


def _keys(x: Float[np.ndarray, "..."], a: float) -> Float[np.ndarray, "..."]:
    x = np.abs(x)
    near = ((a + 2) * x - (a + 3)) * x**2 + 1
    far = a * (((x - 5) * x + 8) * x - 4)
    return np.where(x <= 1, near, np.where(x < 2, far, 0.0))


def _triangle(x: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    height: np.ndarray = np.maximum(1 - np.abs(x), 0.0)
    return height
