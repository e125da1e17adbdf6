"""A transformers folder's config.json for the new tables, or why there is none that loads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pe_inspect.baking.config import Sizes, like
from pe_inspect.errors import UsageError

__all__ = ["hf_config"]

Config = Mapping[str, Any]

_SECTIONS: Final = ("vision_config", "backbone_config")
_SQUARED: Final = (
    *("aimv2", "altclip", "blip", "bridgetower", "chinese_clip", "clip", "git", "instructblip"),
    *("janus", "kosmos", "levit", "metaclip", "mlcd", "owlv", "pvt", "siglip", "swin", "xclip"),
)
"""Model types that begin so count their patches from one side of the image, or of a window."""
_ROOTS: Final = ("dinov2", "dinov2_with_registers", "dpt", "pixio")
"""These resize their table for every image that is no square, by the root of its rows."""
_ROOTS_OF_TABLES: Final = ("beit", "data2vec-vision")  # likewise, where they have a table


def hf_config(config: Config, sizes: Sizes) -> Config:
    """Return a configuration that states every size that changes, in its vision model's section.

    A hub's config.json leaves out what is its class's default: what is not mentioned is added.

    Args:
        config: the folder's config.json, with the sizes that it mentions changed.
        sizes: what changes.

    Raises:
        UsageError: transformers' own code takes no image of that shape.
    """
    name = next((name for name in _SECTIONS if isinstance(config.get(name), Mapping)), None)
    section = config[name] if name else config
    _refuse_shape(section, str(section.get("model_type") or config.get("model_type")), sizes)
    known = {"image_size": sizes.image, "patch_size": sizes.patch}
    words = {word: pair[1] for word, pair in known.items() if pair is not None}
    made = {**section, **{word: like(section.get(word), pair) for word, pair in words.items()}}
    made |= _pretrained(section, sizes)
    return {**config, name: made} if name else made


def _pretrained(section: Config, sizes: Sizes) -> dict[str, Any]:
    """VitDet keeps its table, and counts the rows of it in patches of the new size."""
    size = section.get("pretrain_image_size")
    if sizes.patch is None or size is None:
        return {}
    sides = size if isinstance(size, list) else [size, size]
    rows, columns = (side // old * new for side, old, new in zip(sides, *sizes.patch))
    return {"pretrain_image_size": like(size, (rows, columns))}


def _refuse_shape(section: Config, model_type: str, sizes: Sizes) -> None:
    changed = [pair[1] for pair in (sizes.image, sizes.window) if pair is not None]
    odd = next((pair for pair in changed if pair[0] != pair[1]), None)
    if odd is not None and (why := _cannot(section, model_type)):
        raise UsageError(
            f"The {model_type} of transformers {why}, so that a folder for {odd[0]}×{odd[1]} would "
            "not run. Pass a square size; or give the weight file instead of the folder, for code "
            "that takes other shapes, as timm's does."
        )


def _cannot(section: Config, model_type: str) -> str:
    """Why a model takes square images only; empty where it takes any."""
    has_table = bool(section.get("use_absolute_position_embeddings"))
    if model_type in _ROOTS or (model_type in _ROOTS_OF_TABLES and has_table):
        return "resizes its table for every image that is no square, as if the table were one"
    if model_type.startswith(_SQUARED):
        return "takes one number for both sides of an image, or of a window"
    return ""
