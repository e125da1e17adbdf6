"""What diffusion transformers with a stored table do on another resolution."""

from __future__ import annotations

from pe_inspect.resampling.picked import middle, middle_from_halves
from pe_inspect.resampling.registering import library

__all__: list[str] = []

library(
    "sd3",
    vectors=middle,
    call="the middle H×W of the table: from row (h − H)//2 and column (w − W)//2 on",
    source="diffusers: PatchEmbed.cropped_pos_embed, OmniGen's; Stability-AI/sd3-ref: mmdit.py",
    model_types=("OmniGenTransformer2DModel", "SD3ControlNetModel", "SD3Transformer2DModel"),
)
library(
    "auraflow",
    vectors=middle_from_halves,
    call="the middle H×W of the table: from row h//2 − H//2 and column w//2 − W//2 on",
    source="diffusers: AuraFlowPatchEmbed.pe_selection_index_based_on_dim",
    model_types=("AuraFlowTransformer2DModel",),
)
