"""What further libraries do on another resolution, and our own models."""

from __future__ import annotations

from pe_inspect.resampling.cropped import square_cropped_corners
from pe_inspect.resampling.methods.rotary import extrapolate, rescale
from pe_inspect.resampling.methods.torch_modes import align_corners, bicubic, bicubic_aa
from pe_inspect.resampling.registering import library
from pe_inspect.resampling.sequence import along_sequence

__all__: list[str] = []

library(
    "radio",
    vectors=square_cropped_corners,
    call="size=(m, m), m = max(H, W), mode='bilinear', align_corners=True, then the first H rows "
    "and W columns (CPE, in evaluation)",
    source="NVlabs/RADIO: radio/vit_patch_generator.py, _get_pos_embeddings",
)
library(
    "open_clip",
    vectors=bicubic_aa,
    call="size=(H, W), mode='bicubic', antialias=True, align_corners=False",
    source="open_clip/model.py: resize_pos_embed",
)
library(
    "torchvision",
    vectors=align_corners,
    call="size=(H, W), mode='bicubic', align_corners=True",
    source="torchvision.models.vision_transformer.interpolate_embeddings",
)
library(
    "sequence",
    bias=along_sequence,
    call="the table of differences of patch numbers, row by row: size=2·H·W − 1, mode='linear'",
    source="models that train made with rel_bias_1d (T5's bias without buckets, arXiv:1910.10683)",
)
library(
    "eva02",
    phases=rescale,
    call="t = arange(H′)/H′·H (pt_seq_len = H, ft_seq_len = H′)",
    source="baaivision/EVA: EVA-02, VisionRotaryEmbeddingFast",
)
library(
    "rope-vit",
    vectors=bicubic,
    phases=extrapolate,
    call="phases: t_y, t_x of the new grid; vectors: size=(H, W), mode='bicubic'",
    source="naver-ai/rope-vit: models/vit_rope.py",
)
