"""What Google's codes do on another resolution."""

from __future__ import annotations

from pe_inspect.resampling.methods.signal import zoom
from pe_inspect.resampling.methods.torch_modes import bilinear_aa
from pe_inspect.resampling.registering import library

__all__: list[str] = []

library(
    "jax",
    vectors=zoom,
    call="scipy.ndimage.zoom(grid, (H/h, W/w, 1), order=1)",
    source="google-research/vision_transformer: vit_jax/checkpoint.py, interpolate_posembed",
)
library(
    "bigvision",
    vectors=zoom,
    call="scipy.ndimage.zoom(grid, (H/h, W/w, 1), order=1)",
    source="google-research/big_vision: models/vit.py, resample_posemb",
)
library(
    "flexivit",
    vectors=bilinear_aa,
    call="jax.image.resize(grid, (H, W, D), 'linear'), whose antialias is True",
    source="google-research/big_vision: models/proj/flexi/vit.py (arXiv:2212.08013)",
)
