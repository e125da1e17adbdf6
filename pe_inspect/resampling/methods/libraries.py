"""What each library does on another resolution, by its name."""

from __future__ import annotations

from pe_inspect.resampling.bias_rules import (
    geometric_cubic,
    geometric_linear,
    mirrored,
    swapped,
)
from pe_inspect.resampling.cropped import square_cropped, square_cropped_corners
from pe_inspect.resampling.methods.rotary import (
    extrapolate,
    normalised,
    normalised_max,
    normalised_min,
    rescale,
)
from pe_inspect.resampling.methods.scale_factor import offset, offset_aa
from pe_inspect.resampling.methods.signal import zoom
from pe_inspect.resampling.methods.torch_modes import (
    align_corners,
    bicubic,
    bicubic_aa,
    bilinear,
    bilinear_aa,
    bilinear_align_corners,
)
from pe_inspect.resampling.registering import library
from pe_inspect.resampling.sequence import along_sequence, flattened

__all__: list[str] = []

library(
    "timm",
    {"vectors": bicubic_aa, "bias": geometric_linear, "relative": bilinear},
    call="vectors: interpolation='bicubic', antialias=True, old_size=(H, W); bias: linear between "
    "offsets in geometric progression; relative: size=2H − 1, mode='linear'",
    source="timm.layers: resample_abs_pos_embed, resize_rel_pos_bias_table; its SAM's get_rel_pos",
)
library(
    "timm-npz",
    {"vectors": bilinear},
    call="interpolation='bilinear', antialias=False",
    source="timm/models/vision_transformer.py, _load_weights (Google's .npz; timm's FlexiViT too)",
)
library(
    "naflex",
    {"vectors": bicubic_aa},
    call="size=(H, W), mode='bicubic', antialias=True",
    source="timm/models/naflexvit.py; pos_embed_ar_preserving=False",
)
library(
    "naflex-ar",
    {"vectors": square_cropped},
    call="size=(m, m), m = max(H, W), mode='bicubic', antialias=True, then the first H rows and W "
    "columns",
    source="timm/models/naflexvit.py; pos_embed_ar_preserving=True",
)
library(
    "radio",
    {"vectors": square_cropped_corners},
    call="size=(m, m), m = max(H, W), mode='bilinear', align_corners=True, then the first H rows "
    "and W columns (CPE, in evaluation)",
    source="NVlabs/RADIO: radio/vit_patch_generator.py, _get_pos_embeddings",
)
library(
    "jax",
    {"vectors": zoom},
    call="scipy.ndimage.zoom(grid, (H/h, W/w, 1), order=1)",
    source="google-research/vision_transformer: vit_jax/checkpoint.py, interpolate_posembed",
)
library(
    "bigvision",
    {"vectors": zoom},
    call="scipy.ndimage.zoom(grid, (H/h, W/w, 1), order=1)",
    source="google-research/big_vision: models/vit.py, resample_posemb",
)
library(
    "flexivit",
    {"vectors": bilinear_aa},
    call="jax.image.resize(grid, (H, W, D), 'linear'), whose antialias is True",
    source="google-research/big_vision: models/proj/flexi/vit.py (arXiv:2212.08013)",
)
library(
    "deit",
    {"vectors": bicubic},
    call="size=(H, W), mode='bicubic', align_corners=False",
    source="facebookresearch/deit: main.py; LaPE's main.py likewise",
)
library(
    "mae",
    {"vectors": bicubic},
    call="size=(H, W), mode='bicubic', align_corners=False",
    source="facebookresearch/mae: util/pos_embed.py, interpolate_pos_embed",
)
library(
    "mae-decoder",
    {"vectors": flattened},
    call="the sequence as one row: size=(1, H·W), mode='bicubic', align_corners=False",
    source="transformers: ViTMAEDecoder.interpolate_pos_encoding",
)
library(
    "dino",
    {"vectors": offset},
    call="scale_factor=((H + 0.1)/h, (W + 0.1)/w), mode='bicubic'",
    source="facebookresearch/dino: vision_transformer.py, interpolate_pos_encoding",
)
library(
    "dinov2",
    {"vectors": offset},
    call="interpolate_offset=0.1, interpolate_antialias=False: "
    "scale_factor=((H + 0.1)/h, (W + 0.1)/w), mode='bicubic'",
    source="facebookresearch/dinov2: dinov2/models/vision_transformer.py",
)
library(
    "dinov2-aa",
    {"vectors": offset_aa},
    call="interpolate_offset=0.1, interpolate_antialias=True",
    source="facebookresearch/dinov2: dinov2/models/vision_transformer.py",
)
library(
    "dinov2-reg",
    {"vectors": bicubic_aa},
    call="interpolate_offset=0.0, interpolate_antialias=True: size=(H, W), mode='bicubic'",
    source="facebookresearch/dinov2: dinov2/hub/backbones.py; transformers' Dinov2WithRegisters",
)
library(
    "hf",
    {"vectors": bicubic, "bias": swapped},
    call="vectors: size=(H, W), mode='bicubic', align_corners=False; bias: mode='bilinear' on the "
    "table read as (2W − 1, 2H − 1)",
    source="transformers 5: interpolate_pos_encoding of ViT, DeiT, DINOv2, MAE, …; "
    "BeitRelativePositionBias",
)
library(
    "hf-old",
    {"vectors": offset},
    call="scale_factor=((H + 0.1)/h, (W + 0.1)/w), mode='bicubic', align_corners=False",
    source="transformers until 2024: ViTEmbeddings.interpolate_pos_encoding",
)
library(
    "clip",
    {"vectors": bicubic},
    call="size=(H, W), mode='bicubic', align_corners=False; OpenAI's own code has no other size",
    source="transformers: CLIPVisionEmbeddings.interpolate_pos_encoding",
)
library(
    "nest",
    {"vectors": bicubic},
    call="its blocks are put in place first: size=(H, W), mode='bicubic', align_corners=False",
    source="timm/models/nest.py: resize_pos_embed",
)
library(
    "hiera",
    {"vectors": bicubic_aa},
    call="the table of the image: size=(H, W), mode='bicubic', antialias=True (its window: tiled)",
    source="timm/models/hiera.py, _pos_embed; facebookresearch/hiera: hiera/hiera.py",
)
library(
    "sam2",
    {"vectors": bicubic},
    call="the table of the image: size=(H, W), mode='bicubic' (its window: tiled)",
    source="facebookresearch/sam2: sam2/modeling/backbones/hieradet.py; timm's hieradet_sam2.py",
)
library(
    "open_clip",
    {"vectors": bicubic_aa},
    call="size=(H, W), mode='bicubic', antialias=True, align_corners=False",
    source="open_clip/model.py: resize_pos_embed",
)
library(
    "siglip2",
    {"vectors": bilinear_aa},
    call="size=(H, W), mode='bilinear', align_corners=False, antialias=True",
    source="transformers: Siglip2VisionEmbeddings.resize_positional_embeddings",
)
library(
    "torchvision",
    {"vectors": align_corners},
    call="size=(H, W), mode='bicubic', align_corners=True",
    source="torchvision.models.vision_transformer.interpolate_embeddings",
)
library(
    "qwen",
    {"vectors": bilinear_align_corners},
    call="size=(H, W), mode='bilinear', align_corners=True",
    source="timm's Qwen3 ViT; Qwen3-VL's fast_pos_embed_interpolate",
)
library(
    "swin",
    {"vectors": bicubic, "bias": bicubic},
    call="size=(2H − 1, 2W − 1), mode='bicubic' on the table of offsets; size=(H, W) on vectors",
    source="microsoft/Swin-Transformer: utils.py, load_pretrained",
)
library(
    "beit",
    {"vectors": bicubic, "bias": geometric_cubic},
    call="bias: cubic spline between offsets in geometric progression, interp2d(kind='cubic'); "
    "vectors: size=(H, W), mode='bicubic'; the 3 rows of CLS are kept",
    source="microsoft/unilm: beit/run_class_finetuning.py",
)
library(
    "levit",
    {"bias": mirrored},
    call="the table of |Δy|, |Δx|: size=(H, W), mode='bicubic', antialias=True",
    source="timm.layers.resize_rel_pos_bias_table_levit (TinyViT's rule; LeViT's own has none)",
)
library(
    "sequence",
    {"bias": along_sequence},
    call="the table of differences of patch numbers, row by row: size=2·H·W − 1, mode='linear'",
    source="models that train made with rel_bias_1d (T5's bias without buckets, arXiv:1910.10683)",
)
library(
    "sam",
    {"vectors": bicubic_aa, "relative": bilinear},
    call="relative: size=2H − 1 (2W − 1 for x), mode='linear'; vectors: mode='bicubic', "
    "antialias=True",
    source="segment-anything: image_encoder.py, get_rel_pos; vectors as timm's samvit",
)
library(
    "mvitv2",
    {"relative": bilinear},
    call="size=2H − 1 (2W − 1 for x), mode='linear'",
    source="facebookresearch/mvit: get_rel_pos; timm/models/mvitv2.py",
)
library(
    "eva02",
    {"phases": rescale},
    call="t = arange(H′)/H′·H (pt_seq_len = H, ft_seq_len = H′)",
    source="baaivision/EVA: EVA-02, VisionRotaryEmbeddingFast",
)
library(
    "rope-vit",
    {"vectors": bicubic, "phases": extrapolate},
    call="phases: t_y, t_x of the new grid; vectors: size=(H, W), mode='bicubic'",
    source="naver-ai/rope-vit: models/vit_rope.py",
)
library(
    "dinov3-max",
    {"phases": normalised_max},
    call="coords = (arange(H′) + ½)/max(H′, W′)·2 − 1 (W′ alike), normalize_coords='max'",
    source="facebookresearch/dinov3: dinov3/layers/rope_position_encoding.py",
)
library(
    "dinov3-min",
    {"phases": normalised_min},
    call="coords = (arange(H′) + ½)/min(H′, W′)·2 − 1 (W′ alike), normalize_coords='min'",
    source="facebookresearch/dinov3: dinov3/layers/rope_position_encoding.py",
)
library(
    "dinov3",
    {"phases": normalised},
    call="coords = (arange(H′) + ½)/H′·2 − 1, normalize_coords='separate'",
    source="facebookresearch/dinov3: dinov3/layers/rope_position_encoding.py",
)
