"""Whose format a file has: what its config.json and further tensors say, beside its tables' names.

Sources: the state dicts of facebookresearch/dinov2, facebookresearch/mae and timm's Qwen3 ViT.
"""

from __future__ import annotations

import re
from typing import Final

from pe_inspect.families.reading.names import trunk
from pe_inspect.loading.checkpoint import Checkpoint

__all__ = ["library_of"]

_DECODER_OF_MAE: Final = re.compile(r"((module|model)\.)*decoder_pos_embed")


def library_of(checkpoint: Checkpoint) -> str | None:
    """Return the method of `interpolate` that is the library's; `None` where nothing tells."""
    return _by_config(checkpoint) or _by_tensors(checkpoint)


def _by_config(checkpoint: Checkpoint) -> str | None:
    """Tell timm's config.json, which names one architecture, and SigLIP 2's."""
    config = checkpoint.metadata.get("config")
    if not isinstance(config, dict):
        return None
    if isinstance(config.get("architecture"), str):
        return "timm"
    return "siglip2" if str(config.get("model_type")).startswith("siglip2") else None


def _by_tensors(checkpoint: Checkpoint) -> str | None:
    """Tell DINOv2 by its mask token's two axes, MAE by its decoder, Qwen3's ViT by its merger."""
    names = trunk(checkpoint)
    mask = names.get("mask_token")
    if mask is not None and len(checkpoint.shape(mask)) == 2:
        return "dinov2-reg" if "register_tokens" in names else "dinov2"
    if any(map(_DECODER_OF_MAE.fullmatch, checkpoint)):
        return "mae"
    return "qwen" if "merger.norm.weight" in names else None
