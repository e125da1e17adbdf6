"""What Meta's codes do on another resolution: DeiT, MAE, DINO to DINOv3, Hiera, SAM, MViTv2."""

from __future__ import annotations

from pe_inspect.resampling.methods.rotary import normalised, normalised_max, normalised_min
from pe_inspect.resampling.methods.scale_factor import offset, offset_aa
from pe_inspect.resampling.methods.torch_modes import bicubic, bicubic_aa, bilinear
from pe_inspect.resampling.registering import library

__all__: list[str] = []

library(
    "deit",
    vectors=bicubic,
    call="size=(H, W), mode='bicubic', align_corners=False",
    source="facebookresearch/deit: main.py; LaPE's main.py likewise",
)
library(
    "mae",
    vectors=bicubic,
    call="size=(H, W), mode='bicubic', align_corners=False",
    source="facebookresearch/mae: util/pos_embed.py, interpolate_pos_embed",
)
library(
    "dino",
    vectors=offset,
    call="scale_factor=((H + 0.1)/h, (W + 0.1)/w), mode='bicubic'",
    source="facebookresearch/dino: vision_transformer.py, interpolate_pos_encoding",
)
library(
    "dinov2",
    vectors=offset,
    call="interpolate_offset=0.1, interpolate_antialias=False: "
    "scale_factor=((H + 0.1)/h, (W + 0.1)/w), mode='bicubic'",
    source="facebookresearch/dinov2: dinov2/models/vision_transformer.py",
)
library(
    "dinov2-aa",
    vectors=offset_aa,
    call="interpolate_offset=0.1, interpolate_antialias=True",
    source="facebookresearch/dinov2: dinov2/models/vision_transformer.py",
)
library(
    "dinov2-reg",
    vectors=bicubic_aa,
    call="interpolate_offset=0.0, interpolate_antialias=True: size=(H, W), mode='bicubic'",
    source="facebookresearch/dinov2: dinov2/hub/backbones.py; transformers' Dinov2WithRegisters",
    model_types=("dinov2_with_registers",),
)
library(
    "hiera",
    vectors=bicubic_aa,
    call="the table of the image: size=(H, W), mode='bicubic', antialias=True (its window: tiled)",
    source="timm/models/hiera.py, _pos_embed; facebookresearch/hiera: hiera/hiera.py",
)
library(
    "sam2",
    vectors=bicubic,
    call="the table of the image: size=(H, W), mode='bicubic' (its window: tiled)",
    source="facebookresearch/sam2: sam2/modeling/backbones/hieradet.py; timm's hieradet_sam2.py",
)
library(
    "sam",
    vectors=bicubic_aa,
    relative=bilinear,
    call="relative: size=2H − 1 (2W − 1 for x), mode='linear'; vectors: mode='bicubic', "
    "antialias=True",
    source="segment-anything: image_encoder.py, get_rel_pos; vectors as timm's samvit",
)
library(
    "mvitv2",
    relative=bilinear,
    call="size=2H − 1 (2W − 1 for x), mode='linear'",
    source="facebookresearch/mvit: get_rel_pos; timm/models/mvitv2.py",
)
library(
    "dinov3-max",
    phases=normalised_max,
    call="coords = (arange(H′) + ½)/max(H′, W′)·2 − 1 (W′ alike), normalize_coords='max'",
    source="facebookresearch/dinov3: dinov3/layers/rope_position_encoding.py",
)
library(
    "dinov3-min",
    phases=normalised_min,
    call="coords = (arange(H′) + ½)/min(H′, W′)·2 − 1 (W′ alike), normalize_coords='min'",
    source="facebookresearch/dinov3: dinov3/layers/rope_position_encoding.py",
)
library(
    "dinov3",
    phases=normalised,
    call="coords = (arange(H′) + ½)/H′·2 − 1, normalize_coords='separate'",
    source="facebookresearch/dinov3: dinov3/layers/rope_position_encoding.py",
)
