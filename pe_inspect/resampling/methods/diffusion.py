"""What diffusion transformers with a stored table do on another resolution."""

from __future__ import annotations

from pe_inspect.resampling.picked import middle
from pe_inspect.resampling.registering import library

__all__: list[str] = []

library(
    "sd3",
    vectors=middle,
    call="the middle H×W of the table: from row (h − H)//2 and column (w − W)//2 on",
    source="diffusers: PatchEmbed.cropped_pos_embed; Stability-AI/sd3-ref: mmdit.py",
    model_types=("SD3Transformer2DModel",),
)
