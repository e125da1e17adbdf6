"""What a config.json, or the arguments saved in a file, say of a model: read leniently."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from pe_inspect.loading.checkpoint import Hints

__all__ = ["hints_from", "outranked"]

# Where one tower's settings lie in a configuration of several; nothing else of it is that tower's.
_TOWERS: Final = {
    "vision": (
        *("vision_config", "thinker_config.vision_config", "model_cfg.vision_cfg", "vision_cfg"),
        *("backbone_config", "encoder"),
    ),
    "text": ("text_config", "model_cfg.text_cfg", "text_cfg"),
}
# Where they lie in a configuration of one, the most specific first: our trainer's, timm's, any.
_WHOLE: Final = ("model", "model_args", "", "pretrained_cfg")

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


BEYOND: Final = 1 << 31
"""Sides, widths, heads and bases of rotations are smaller."""


def hints_from(settings: Mapping[str, Any], origin: str, tower: str | None = None) -> Hints:
    """Return the hints in `settings`; what makes no sense is passed over.

    Args:
        settings: a config.json, or an argument parser's namespace as a dict.
        origin: who says so, for notes: `"config.json"`, `"args in the file"`.
        tower: whose settings count where there are two.
    """
    sections = _sections(settings, tower or "vision")
    found = {
        name: value
        for name, (keys, read) in _FIELDS.items()
        if (value := _first(sections, keys, read)) is not None
    }
    arch = _architecture(settings)
    found |= {"arch": arch} if arch else {}
    grid = next((grid for grid in map(_own_grid, sections) if grid), None)
    found |= {"grid_size": grid} if grid else {}
    return Hints(**found, origins=dict.fromkeys(found, origin))


def _own_grid(settings: Mapping[str, Any]) -> tuple[int, int] | None:
    """The grid by the rule of a Hugging Face model, whose configuration names its type."""
    if "model_type" not in settings:
        return None
    from pe_inspect.loading.config_grids import stated_grid

    return stated_grid(settings)


def _sections(settings: Mapping[str, Any], tower: str) -> list[Mapping[str, Any]]:
    """The parts of a configuration that speak of one tower, the most specific first."""
    own = [part for path in _TOWERS.get(tower, ()) if (part := _section(settings, path))]
    return own or [_section(settings, path) for path in _WHOLE]


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


def _height_and_width(value: Any) -> tuple[int, int] | None:
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
    return value if type(value) is int and 0 < value < BEYOND else None


def _small(value: Any) -> float | None:
    is_number = isinstance(value, float | int) and not isinstance(value, bool)
    return float(value) if is_number and 0 < value < 1 else None


def _real(value: Any) -> float | None:
    is_number = isinstance(value, float | int) and not isinstance(value, bool)
    return float(value) if is_number and 0 < value < BEYOND else None


def _word(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _join(value: Any) -> str | None:
    return JOINS.get(value.lower()) if isinstance(value, str) else None


_FIELDS: Final[dict[str, tuple[tuple[str, ...], Callable[[Any], Any]]]] = {
    "img_size": (("img_size", "image_size", "input_size"), _height_and_width),
    "patch_size": (("patch_size",), _height_and_width),
    "num_heads": (("num_heads", "num_attention_heads"), _positive),
    "embed_dim": (("embed_dim", "hidden_size", "width"), _positive),
    "depth": (("num_hidden_layers", "layers", "depth"), _positive),
    "ln_eps": (
        ("ln_eps", "layer_norm_eps", "rms_norm_eps", "norm_eps", "layernorm_eps"),
        _small,
    ),
    "join": (("join", "join_type"), _join),
    "pe": (("pe", "pe_type", "scheme"), _word),
    "rope_theta": (("rope_theta", "rope_parameters.rope_theta"), _real),
}


def _architecture(settings: Mapping[str, Any]) -> str | None:
    """Return timm's name where timm wrote the file, else what the script called its model."""
    keys = (
        *("architecture", "pretrained_cfg.architecture", "arch"),
        *("model_cfg.vision_cfg.timm_model_name", "model", "model_name"),
    )
    names = (_word(_section_value(settings, key)) for key in keys)
    return next((name.removeprefix("timm:") for name in names if name), None)


_TOLD: Final = (
    *("grid_size", "img_size", "patch_size", "num_heads", "join", "ln_eps", "rope_theta", "arch"),
)


def outranked(stronger: Hints, weaker: Hints) -> list[str]:
    """Return a note for every hint of which two sources say different things."""
    notes = []
    for name in _TOLD:
        taken, left = getattr(stronger, name), getattr(weaker, name)
        if None in (taken, left) or _plain(taken) == _plain(left):
            continue
        first, second = _who(stronger, name), _who(weaker, name)
        notes.append(f"{name} {_in_words(taken)} from {first}; {second} says {_in_words(left)}")
    return notes


def _plain(value: Any) -> Any:
    """An architecture without the library that `--arch` names before it."""
    return value.removeprefix("timm:") if isinstance(value, str) else value


def _who(hints: Hints, name: str) -> str:
    return hints.origins.get(name, f"--{name.replace('_', '-')}")


def _in_words(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    return "×".join(map(str, value)) if isinstance(value, tuple) else str(value)
