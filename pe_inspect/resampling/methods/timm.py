"""What timm does on another resolution."""

from __future__ import annotations

from pe_inspect.resampling.bias_rules import geometric_linear, mirrored
from pe_inspect.resampling.cropped import square_cropped
from pe_inspect.resampling.methods.torch_modes import bicubic, bicubic_aa, bilinear
from pe_inspect.resampling.registering import library

__all__: list[str] = []

library(
    "timm",
    vectors=bicubic_aa,
    bias=geometric_linear,
    relative=bilinear,
    call="vectors: interpolation='bicubic', antialias=True, old_size=(H, W); bias: linear between "
    "offsets in geometric progression; relative: size=2H − 1, mode='linear'",
    source="timm.layers: resample_abs_pos_embed, resize_rel_pos_bias_table; its SAM's get_rel_pos",
)
library(
    "timm-npz",
    vectors=bilinear,
    call="interpolation='bilinear', antialias=False",
    source="timm/models/vision_transformer.py, _load_weights (Google's .npz; timm's FlexiViT too)",
)
library(
    "naflex",
    vectors=bicubic_aa,
    call="size=(H, W), mode='bicubic', antialias=True",
    source="timm/models/naflexvit.py; pos_embed_ar_preserving=False",
)
library(
    "naflex-ar",
    vectors=square_cropped,
    call="size=(m, m), m = max(H, W), mode='bicubic', antialias=True, then the first H rows and W "
    "columns",
    source="timm/models/naflexvit.py; pos_embed_ar_preserving=True",
)
library(
    "nest",
    vectors=bicubic,
    call="its blocks are put in place first: size=(H, W), mode='bicubic', align_corners=False",
    source="timm/models/nest.py: resize_pos_embed",
)
library(
    "levit",
    bias=mirrored,
    call="the table of |Δy|, |Δx|: size=(H, W), mode='bicubic', antialias=True",
    source="timm.layers.resize_rel_pos_bias_table_levit (TinyViT's rule; LeViT's own has none)",
)
