"""The part of a config.json that speaks of a model's image tower, however deep it is nested."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

__all__ = ["tower_config", "tower_type"]

_USUAL_MODE: Final = "bilinear"
_SECTIONS: Final = (
    *("thinker_config", "vision_config", "image_config", "backbone_config", "vision_encoder"),
    "encoder",
)


def tower_config(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the section of the image tower; the configuration itself where none is nested.

    A section without a type of model has that of the whole.
    """
    section, found = config, _type(config)
    while (inner := _inner(section)) is not None:
        section, found = inner, _type(inner) or found
    return section if found is None else {**section, "model_type": found}


def tower_type(config: Mapping[str, Any]) -> str | None:
    """Return the type of model of a configuration's image tower.

    Where it says that it interpolates in another way than its type's usual one, that is added.
    """
    section = tower_config(config)
    said, mode = _type(section), section.get("interpolate_mode", _USUAL_MODE)
    return said if said is None or mode == _USUAL_MODE else f"{said} (interpolate_mode {mode})"


def _inner(section: Mapping[str, Any]) -> Mapping[str, Any] | None:
    return next((section[n] for n in _SECTIONS if isinstance(section.get(n), Mapping)), None)


def _type(section: Mapping[str, Any]) -> str | None:
    said = section.get("model_type") or section.get("_class_name")
    return said if isinstance(said, str) else None
