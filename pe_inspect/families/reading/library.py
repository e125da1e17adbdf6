"""Whose format a file has: what its config.json and further tensors say, beside its tables' names.

Sources: the state dicts of facebookresearch/dinov2, facebookresearch/mae and timm's Qwen3 ViT.
"""

from __future__ import annotations

import re
from typing import Final

from pe_inspect.families.trunk import Trunk

__all__ = ["library_of"]

_DECODER_OF_MAE: Final = re.compile(r"((module|model)\.)*decoder_pos_embed")


def library_of(trunk: Trunk) -> str | None:
    """Return the method of `interpolate` that is the library's; `None` where nothing tells."""
    return _by_config(trunk) or _by_tensors(trunk)


def _by_config(trunk: Trunk) -> str | None:
    """Tell timm's config.json, which names one architecture, and SigLIP 2's."""
    if isinstance(trunk.config.get("architecture"), str):
        return "timm"
    return "siglip2" if str(trunk.config.get("model_type")).startswith("siglip2") else None


def _by_tensors(trunk: Trunk) -> str | None:
    """Tell DINOv2 by its mask token's two axes, MAE by its decoder, Qwen3's ViT by its merger."""
    names = trunk.names
    mask = names.get("mask_token")
    if mask is not None and len(trunk.shape(mask)) == 2:
        return "dinov2-reg" if "register_tokens" in names else "dinov2"
    if any(_DECODER_OF_MAE.fullmatch(key) for key in trunk):
        return "mae"
    return "qwen" if "merger.norm.weight" in names else None
