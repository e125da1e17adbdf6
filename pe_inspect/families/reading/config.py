"""What a config.json that came with the weights tells: another model, a library, a rotary model.

Where it tells of another model than the weights, which of the two is right is nobody's to guess:
both are said, and the user decides. The library is told by tensors too.

Sources: the state dicts of facebookresearch/dinov2, facebookresearch/mae and timm's Qwen3 ViT.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from pe_inspect.errors import AmbiguousCheckpoint
from pe_inspect.families.trunk import Trunk

__all__ = [
    "DINOV3", "computes_rotations", "library_of", "model_type_of", "refuse_other_model",
    "tower_type", "vision_config",
]  # fmt: skip

DINOV3: Final = "dinov3_vit"
_PIXTRAL: Final = "pixtral"

_SECTIONS: Final = (
    *("thinker_config", "vision_config", "image_config", "backbone_config", "vision_encoder"),
    "encoder",
)
_TIMM_S_BLOCK: Final = re.compile(r"(.*\.)?blocks\.\d+\.attn\.qkv\.weight")
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
    """Tell timm's config.json, which names one architecture."""
    return "timm" if isinstance(trunk.config.get("architecture"), str) else None


def model_type_of(trunk: Trunk) -> str | None:
    """Return what a config.json of transformers or diffusers calls the image tower."""
    return tower_type(trunk.config)


def tower_type(config: Mapping[str, Any]) -> str | None:
    """Return the type of model of a configuration's image tower.

    A model of several towers nests theirs, and a section without a type has that of the whole.
    """
    section: Any = config
    found = None
    while isinstance(section, Mapping):
        said = section.get("model_type") or section.get("_class_name")
        found = said if isinstance(said, str) else found
        section = next((section[n] for n in _SECTIONS if isinstance(section.get(n), Mapping)), None)
    return found


def _by_tensors(trunk: Trunk) -> str | None:
    """Tell DINOv2 by its mask token's two axes, MAE by its decoder, Qwen3's ViT by its merger."""
    names = trunk.names
    mask = names.get("mask_token")
    if mask is not None and len(trunk.shape(mask)) == 2:
        return "dinov2-reg" if "register_tokens" in names else "dinov2"
    if any(_DECODER_OF_MAE.fullmatch(key) for key in trunk):
        return "mae"
    return next((library for library, has in _SIGNS.items() if has(names)), None)


def _has_timm_s_names(names: Mapping[str, str]) -> bool:
    """Whether the trunk is named as in timm's ViT, whose loader takes such files."""
    has_patch = any(name.endswith("patch_embed.proj.weight") for name in names)
    return has_patch and any(map(_TIMM_S_BLOCK.fullmatch, names))


def _is_mmdit(names: Mapping[str, str]) -> bool:
    """Whether blocks have streams of image and text, and the image's patches a table."""
    return any(".x_block." in name for name in names) and any(
        name.endswith("x_embedder.proj.weight") for name in names
    )


_SIGNS: Final[dict[str, Callable[[Mapping[str, str]], bool]]] = {
    "qwen": lambda names: "merger.norm.weight" in names,
    "clip": lambda names: any(".pre_layrnorm." in f".{name}" for name in names),
    "sd3": _is_mmdit,
    "timm's names": _has_timm_s_names,
}
