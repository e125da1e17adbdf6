"""What transformers does on another resolution, model type by model type.

A type that is missing here has no rule in transformers: its code takes one size, or is not known.
"""

from __future__ import annotations

from pe_inspect.resampling.bias_rules import swapped
from pe_inspect.resampling.cropped import square_bilinear
from pe_inspect.resampling.methods.scale_factor import bilinear_offset, offset
from pe_inspect.resampling.methods.torch_modes import (
    bicubic,
    bicubic_aa,
    bilinear,
    bilinear_aa,
    bilinear_align_corners,
    bilinear_zeros_turned,
    nearest,
)
from pe_inspect.resampling.picked import bucket_by_shares, bucket_by_steps, tiled_and_cut
from pe_inspect.resampling.registering import library
from pe_inspect.resampling.sequence import flattened

__all__: list[str] = []

library(
    "hf",
    vectors=bicubic,
    bias=swapped,
    call="vectors: size=(H, W), mode='bicubic', align_corners=False; bias: mode='bilinear' on the "
    "table read as (2W − 1, 2H − 1)",
    source="transformers 5: interpolate_pos_encoding of ViT, DeiT, DINOv2, MAE, …; "
    "BeitRelativePositionBias",
    model_types=(
        "altclip_vision_model", "beit", "blip_2_vision_model", "blip_vision_model",
        "bridgetower_vision_model", "chinese_clip_vision_model", "clip_vision_model",
        "clipseg_vision_model", "data2vec-vision", "deit", "dinov2",
        "flava_image_model", "git_vision_model", "glm4v_moe_vision", "glm4v_vision",
        "granite_docling_vision", "groupvit_vision_model", "hiera", "ijepa",
        "instructblip_vision_model", "instructblipvideo_vision_model", "internvl_vision",
        "janus_vision_model", "kimi_k25_vision", "kosmos_2_vision_model", "layoutlmv3",
        "lw_detr_vit", "metaclip_2_vision_model", "owlv2_vision_model",
        "owlvit_vision_model", "pixio", "qianfan_ocr_vision", "seggpt", "siglip_vision_model",
        "swinv2", "vit", "vit_mae", "vit_msn", "vitdet", "xclip_vision_model", "yolos",
    ),
)  # fmt: skip
library(
    "hf-bilinear",
    vectors=bilinear,
    call="size=(H, W), mode='bilinear', align_corners=False",
    source="transformers 5: DPTViTEmbeddings, Step3p7VisionEmbeddings, GlmImageVisionEmbeddings, …",
    model_types=(
        "dpt", "glm_image_vision", "hunyuan_vl_vision", "inkling2_vision", "paddleocr_vl_vision",
        "step3p5_vision",
    ),
)  # fmt: skip
library(
    "hf-bicubic-aa",
    vectors=bicubic_aa,
    call="size=(H, W), mode='bicubic', align_corners=False, antialias=True",
    source="transformers 5: RfDetrDinov2Embeddings, DeepseekOcr2SamVisionEncoder, …",
    model_types=(
        "deepseek_ocr2_sam_vision_model", "rf_detr_dinov2", "unlimited_ocr_sam_vision_model",
        "unlimited_ocr_vision_encoder",
    ),
)  # fmt: skip
library(
    "hf-old",
    vectors=offset,
    call="scale_factor=((H + 0.1)/h, (W + 0.1)/w), mode='bicubic', align_corners=False",
    source="transformers until 2024: ViTEmbeddings.interpolate_pos_encoding",
)
library(
    "mae-decoder",
    vectors=flattened,
    call="the sequence as one row: size=(1, H·W), mode='bicubic', align_corners=False",
    source="transformers: ViTMAEDecoder.interpolate_pos_encoding",
)
library(
    "clip",
    vectors=bicubic,
    call="size=(H, W), mode='bicubic', align_corners=False; OpenAI's own code has no other size",
    source="transformers: CLIPVisionEmbeddings.interpolate_pos_encoding",
)
library(
    "siglip2",
    vectors=bilinear_aa,
    call="size=(H, W), mode='bilinear', align_corners=False, antialias=True",
    source="transformers: Siglip2VisionEmbeddings.resize_positional_embeddings; Tipsv2, VideoPrism",
    model_types=(
        "cosmos3_edge_vision", "siglip2_vision_model", "tipsv2_vision_model",
        "videoprism_vision_model",
    ),
)  # fmt: skip
library(
    "qwen",
    vectors=bilinear_align_corners,
    call="size=(H, W), mode='bilinear', align_corners=True",
    source="timm's Qwen3 ViT; Qwen3-VL's vision model; ViltEmbeddings.visual_embed",
    model_types=(
        "cohere_compass_vision", "cosmos3_omni_vision", "qwen3_5_moe_vision", "qwen3_5_vision",
        "qwen3_omni_moe_vision_encoder", "qwen3_vl_moe_vision", "qwen3_vl_vision",
        "qwen4_exp_vision", "vilt",
    ),
)  # fmt: skip
library(
    "idefics2",
    vectors=bucket_by_steps,
    call="place i of H patches has row bucketize(i · (1/H), 1/h, 2/h, …): no mixing",
    source="transformers: Idefics2VisionEmbeddings, Idefics3's, SmolVLM's, Phi-4's",
    model_types=("idefics2_vision", "idefics3_vision", "phi4_multimodal_vision", "smolvlm_vision"),
)
library(
    "minicpm",
    vectors=bucket_by_shares,
    call="place i of H patches has row bucketize(i/H, 1/h, 2/h, …): no mixing",
    source="transformers: get_vision_nearest_position_ids",
    model_types=("minicpm_ocr_vision", "minicpmv4_6_vision", "minicpmv4_7_vision"),
)
library(
    "sam3",
    vectors=tiled_and_cut,
    call="tile: place (y, x) has row (y mod h, x mod w); no whole number of tiles is needed",
    source="transformers: Sam3ViTEmbeddings._tile_position_embeddings",
    model_types=("sam3_vit_model",),
)
library(
    "timesformer",
    vectors=nearest,
    call="size=(H, W), mode='nearest'",
    source="transformers: TimesformerEmbeddings",
    model_types=("timesformer",),
)
library(
    "muse",
    vectors=bilinear_zeros_turned,
    call="size=(W, H), mode='bilinear', align_corners=False, zeros beyond the edges; its rows in "
    "order are those of the patches of H×W, which on squares alone keeps places",
    source="transformers: MuseGlimmerVisionPatchEmbedder, MuseSpark's",
    model_types=("muse_glimmer_vision", "muse_spark_vision"),
)
library(
    "radio-hf",
    vectors=square_bilinear,
    call="size=(m, m), m = max(H, W), mode='bilinear', align_corners=False, then the first H rows "
    "and W columns",
    source="transformers: RadioPatchEmbeddings",
    model_types=("radio",),
)
library(
    "hy-v4",
    vectors=bilinear_offset,
    call="scale_factor=((H + 0.1)/h, (W + 0.1)/w), mode='bilinear', align_corners=False",
    source="transformers: HYV4VLVisionPatchEmbed",
    model_types=("hy_v4_vl_vision",),
)
library(
    "hf-relative",
    relative=bilinear,
    call="size=2H − 1 (2W − 1 for x), mode='linear'",
    source="transformers: SamVisionAttention.get_rel_pos, and its copies",
    model_types=(
        "deepseek_ocr2_sam_vision_model", "got_ocr2_vision", "pp_formulanet_vision", "sam_hq",
        "sam_hq_vision_model", "sam_vision_model", "seggpt", "slanext_vision",
        "unlimited_ocr_sam_vision_model", "vitdet",
    ),
)  # fmt: skip
