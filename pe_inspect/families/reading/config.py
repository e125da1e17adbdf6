"""What a config.json that came with the weights tells: another model, a library, a rotary model.

Where it tells of another model than the weights, which of the two is right is nobody's to guess:
both are said, and the user decides. The library is told by tensors too.

Sources: the state dicts of facebookresearch/dinov2, facebookresearch/mae and timm's Qwen3 ViT.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from pe_inspect.errors import AmbiguousCheckpoint
from pe_inspect.families.trunk import Trunk

__all__ = ["DINOV3", "computes_rotations", "library_of", "refuse_other_model", "vision_config"]

DINOV3: Final = "dinov3_vit"
_PIXTRAL: Final = "pixtral"

_DECODER_OF_MAE: Final = re.compile(r"((module|model)\.)*decoder_pos_embed")
_WEIGHT: Final = re.compile(r".+[./](?:weight|scale|gamma)")


def computes_rotations(trunk: Trunk) -> bool:
    """Whether a config.json of transformers names a rotary model that stores nothing."""
    return vision_config(trunk).get("model_type") in (DINOV3, _PIXTRAL)


def vision_config(trunk: Trunk) -> Mapping[str, Any]:
    """Return the config.json of the vision tower; a model of two towers nests it."""
    nested = trunk.config.get("vision_config")
    return nested if isinstance(nested, dict) else trunk.config


def refuse_other_model(trunk: Trunk) -> None:
    """Compare the depth and the width that a config.json states with those of the weights.

    Raises:
        AmbiguousCheckpoint: they differ; both are said.
    """
    found = "; ".join(_differences(trunk))
    if found:
        raise AmbiguousCheckpoint(
            f"config.json contradicts the weights of {trunk.source}: {found}. One of the two "
            "is of another model: put the right config.json beside the weights, or give the "
            "weight file without it."
        )


def _differences(trunk: Trunk) -> Iterator[str]:
    hints = trunk.hints
    if not any(name.startswith("blocks.") for name in trunk.blocks):
        return  # a pyramid's stages differ in width, and configurations count them variously
    if trunk.hints.is_of_config("depth") and hints.depth != (blocks := trunk.depth):
        yield f"it says {hints.depth} blocks, they have {blocks}"
    width = _width(trunk)
    if trunk.hints.is_of_config("embed_dim") and width and hints.embed_dim != width:
        yield f"it says embed_dim {hints.embed_dim}, they have {width}"


def _width(trunk: Trunk) -> int | None:
    """The width of the first block's first norm."""
    for each in trunk.matching_in_blocks(_WEIGHT):
        shape = trunk.shape(each.key)
        if len(shape) == 1 and trunk.place(each.bare) == ("blocks.0", "norm1"):
            return shape[0]
    return None


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
