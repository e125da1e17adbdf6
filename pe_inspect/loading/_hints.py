"""What a config.json, or the arguments saved in a file, say of a model: read leniently."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from pe_inspect.loading.checkpoint import Hints

__all__ = ["hints_from"]

# Where settings lie, the most specific first: our trainer, timm, Hugging Face, open_clip
_SECTIONS: Final = {
    "vision": (
        "model",
        "model_args",
        "vision_config",
        "model_cfg.vision_cfg",
        "",
        "pretrained_cfg",
    ),
    "text": ("text_config", "model_cfg.text_cfg", ""),
}
JOINS: Final = {
    "basic": "input",
    "input": "input",
    "share": "share",
    "unshare": "unshare",
    "lape": "lape",
    "ln": "lape",  # the bias's own norm, in LaPE's relative models
    "pvg": "pvg",
    "mpvg": "mpvg",
    "none": "none",
}


def hints_from(settings: Mapping[str, Any], origin: str, tower: str | None = None) -> Hints:
    """Return the hints in `settings`; what makes no sense is passed over.

    Args:
        settings: a config.json, or an argument parser's namespace as a dict.
        origin: who says so, for notes: `"config.json"`, `"args in the file"`.
        tower: whose settings count where there are two.
    """
    sections = [_section(settings, path) for path in _SECTIONS[tower or "vision"]]
    found = {
        name: value
        for name, (keys, read) in _FIELDS.items()
        if (value := _first(sections, keys, read)) is not None
    }
    arch = _architecture(settings)
    found |= {"arch": arch} if arch else {}
    return Hints(**found, origins=dict.fromkeys(found, origin))


def _section(settings: Mapping[str, Any], path: str) -> Mapping[str, Any]:
    node: Any = settings
    for name in path.split(".") if path else ():
        node = node.get(name) if isinstance(node, Mapping) else None
    return node if isinstance(node, Mapping) else {}


def _first(
    sections: list[Mapping[str, Any]], keys: tuple[str, ...], read: Callable[[Any], Any]
) -> Any:
    values = (read(_section_value(section, key)) for section in sections for key in keys)
    return next((value for value in values if value is not None), None)


def _section_value(section: Mapping[str, Any], key: str) -> Any:
    outer, _, inner = key.rpartition(".")
    return _section(section, outer).get(inner)


def _size(value: Any) -> tuple[int, int] | None:
    """(H, W) of 224, "224", [224, 192], [3, 224, 192] or {"height": 224, "width": 192}."""
    if isinstance(value, Mapping):
        value = [value.get("height"), value.get("width")]
    sides = [_positive(side) for side in _items(value)][-2:]
    if not sides or None in sides:
        return None
    return int(sides[0] or 0), int(sides[-1] or 0)


def _items(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]


def _positive(value: Any) -> int | None:
    if isinstance(value, str) and value.isdecimal() and len(value) < 10:
        value = int(value)
    return value if type(value) is int and value > 0 else None


def _small(value: Any) -> float | None:
    is_number = isinstance(value, float | int) and not isinstance(value, bool)
    return float(value) if is_number and 0 < value < 1 else None


def _real(value: Any) -> float | None:
    is_number = isinstance(value, float | int) and not isinstance(value, bool)
    return float(value) if is_number and value > 0 else None


def _word(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _join(value: Any) -> str | None:
    return JOINS.get(value.lower()) if isinstance(value, str) else None


_FIELDS: Final[dict[str, tuple[tuple[str, ...], Callable[[Any], Any]]]] = {
    "img_size": (("img_size", "image_size", "input_size"), _size),
    "patch_size": (("patch_size",), _size),
    "num_heads": (("num_heads", "num_attention_heads"), _positive),
    "ln_eps": (("ln_eps", "layer_norm_eps", "norm_eps"), _small),
    "join": (("join", "join_type"), _join),
    "pe": (("pe", "pe_type", "scheme"), _word),
    "rope_theta": (("rope_theta", "rope_parameters.rope_theta"), _real),
}


def _architecture(settings: Mapping[str, Any]) -> str | None:
    """Return timm's name where timm wrote the file, else what the script called its model."""
    keys = ("architecture", "pretrained_cfg.architecture", "arch", "model", "model_name")
    names = (_word(_section_value(settings, key)) for key in keys)
    return next((name.removeprefix("timm:") for name in names if name), None)
