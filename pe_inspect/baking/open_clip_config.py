"""An open_clip folder's configuration for the new tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pe_inspect.baking.config import Sizes, like, plain
from pe_inspect.errors import UsageError

__all__ = ["is_open_clips", "open_clip_config"]

Config = Mapping[str, Any]


def is_open_clips(config: Config) -> bool:
    """Whether a configuration is of a model that open_clip builds."""
    model = config.get("model_cfg")
    return isinstance(model, Mapping) and isinstance(model.get("vision_cfg"), Mapping)


def open_clip_config(config: Config, sizes: Sizes) -> Config:
    """Return a configuration whose model and whose preprocessing are of the new size.

    Raises:
        UsageError: patches change in a tower of timm's, whose name alone tells them to open_clip.
    """
    model, picture = config["model_cfg"], config.get("preprocess_cfg")
    made = {**config, "model_cfg": {**model, "vision_cfg": _tower(model["vision_cfg"], sizes)}}
    if sizes.image is not None and isinstance(picture, Mapping) and "size" in picture:
        made["preprocess_cfg"] = {**picture, "size": like(picture["size"], sizes.image[1])}
    return made


def _tower(tower: Config, sizes: Sizes) -> Config:
    if sizes.patch is not None and "timm_model_name" in tower:
        raise UsageError(
            f"open_clip builds {tower['timm_model_name']} by its name, which has patches of its "
            "own, so that the new folder would not load. Leave --patch-size out."
        )
    known = {"image_size": sizes.image, "patch_size": sizes.patch}
    return {**tower, **{name: plain(pair[1]) for name, pair in known.items() if pair is not None}}
