"""torchvision's ViT and Swin from their tensors: all but a ViT's heads is in the shapes."""

from __future__ import annotations

import re
from math import isqrt
from typing import Any, Final

from torch import nn

from pe_inspect.extras import needed
from pe_inspect.live.shapes import count_blocks
from pe_inspect.live.weights import CannotRebuild, load_all, state_dict_of
from pe_inspect.loading.checkpoint import Checkpoint

__all__ = ["is_torchvision", "torchvision_model"]

_FIRST: Final = "encoder.layers.encoder_layer_0."
_VIT: Final = (
    "conv_proj.weight",
    "encoder.pos_embedding",
    "encoder.layers.encoder_layer_0.ln_1.bias",
)
_SWIN_TABLE: Final = re.compile(
    r"features\.(\d+)\.(\d+)\.attn\.(?:relative_position_bias_table|logit_scale)"
)
_HEADS: Final = {768: 12, 1024: 16, 1280: 16}
"""Width → heads of torchvision's own ViT-B, L and H."""


def is_torchvision(checkpoint: Checkpoint) -> bool:
    """Whether the names are those of torchvision's ViT or Swin."""
    return set(_VIT) <= set(checkpoint) or _is_swin(checkpoint)


def torchvision_model(checkpoint: Checkpoint) -> nn.Module:
    """Build torchvision's model of these shapes, and load it.

    Raises:
        MissingLibrary: torchvision is not installed.
        CannotRebuild: a ViT does not say its heads, or the tensors are of another model.
    """
    with needed(f"{checkpoint.source}, a model of torchvision,"):
        import torchvision.models as library
    model = _swin(checkpoint, library) if _is_swin(checkpoint) else _vit(checkpoint, library)
    what = f"torchvision's {type(model).__name__}"
    return load_all(model, state_dict_of(checkpoint), checkpoint.source, what)


def _is_swin(checkpoint: Checkpoint) -> bool:
    return "features.0.0.weight" in checkpoint and any(map(_SWIN_TABLE.fullmatch, checkpoint))


def _vit(checkpoint: Checkpoint, library: Any) -> nn.Module:
    shape = checkpoint.shape
    width, _, patch, _ = shape("conv_proj.weight")
    rows = shape("encoder.pos_embedding")[1]
    heads = checkpoint.hints.num_heads or _HEADS.get(width)
    if heads is None:
        raise CannotRebuild(
            f"{checkpoint.source} does not say how many heads its attention has, and torchvision "
            f"has no ViT of width {width}. Pass --num-heads N."
        )
    model: nn.Module = library.VisionTransformer(
        image_size=isqrt(rows - 1) * patch, patch_size=patch,
        num_layers=count_blocks((k.replace("encoder_layer_", "") for k in checkpoint),
                                r"encoder\.layers"),
        num_heads=heads, hidden_dim=width,
        mlp_dim=shape(f"{_FIRST}mlp.0.weight")[0],
        num_classes=_classes(checkpoint, "heads.head.weight"),
    )  # fmt: skip
    return model


def _swin(checkpoint: Checkpoint, library: Any) -> nn.Module:
    module, shape = library.swin_transformer, checkpoint.shape
    tables = {(int(m[1]), int(m[2])): m[0] for m in map(_SWIN_TABLE.fullmatch, checkpoint) if m}
    stages = sorted({stage for stage, _ in tables})
    is_second = any(key.endswith("logit_scale") for key in tables.values())
    second: dict[str, Any] = {"block": module.SwinTransformerBlockV2,
                              "downsample_layer": module.PatchMergingV2}  # fmt: skip
    model: nn.Module = library.SwinTransformer(
        patch_size=list(shape("features.0.0.weight")[2:]),
        embed_dim=shape("features.0.0.weight")[0],
        depths=[sum(1 for stage, _ in tables if stage == each) for each in stages],
        num_heads=[_swin_heads(checkpoint, tables[each, 0]) for each in stages],
        window_size=[_window(checkpoint, tables[stages[0], 0])] * 2,
        num_classes=_classes(checkpoint, "head.weight"),
        **(second if is_second else {}),
    )  # fmt: skip
    return model


def _swin_heads(checkpoint: Checkpoint, key: str) -> int:
    shape = checkpoint.shape(key)
    return shape[0] if key.endswith("logit_scale") else shape[1]


def _window(checkpoint: Checkpoint, key: str) -> int:
    """Return the side of a window, which tables of (2M − 1)² rows or indices of M² × M² tell."""
    if not key.endswith("logit_scale"):
        return (isqrt(checkpoint.shape(key)[0]) + 1) // 2
    index = f"{key.removesuffix('logit_scale')}relative_position_index"
    pairs = 1
    for side in checkpoint.shape(index):
        pairs *= side
    return isqrt(isqrt(pairs))


def _classes(checkpoint: Checkpoint, key: str) -> int:
    if key not in checkpoint:
        raise CannotRebuild(f"{checkpoint.source} has no {key}: the file is not whole.")
    return checkpoint.shape(key)[0]
