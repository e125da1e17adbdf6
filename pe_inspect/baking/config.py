"""What a config.json says of the image size, for the new one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

__all__ = ["Pair", "Sizes", "like", "plain", "reconfigured"]

Pair = tuple[int, int]

_IMAGE: Final = ("image_size", "img_size", "input_size")
_PICTURE: Final = ("size", "crop_size")  # of an image processor
_PATCH: Final = ("patch_size",)
_WINDOW: Final = ("window_size",)
_RECORDS: Final = ("recipe", "text_config", "text_cfg", "test_input_size")
"""What was trained, and what is of words: these stay."""


@dataclass(frozen=True)
class Sizes:
    """Old and new sizes, in pixels, and of windows in patches; `None` where one does not change.

    Attributes:
        image: of the picture.
        patch: of a patch.
        window: the largest.
        windows: the new one of every stage.
        lengths: word → new number, of a spectrogram.
    """

    image: tuple[Pair, Pair] | None = None
    patch: tuple[Pair, Pair] | None = None
    window: tuple[Pair, Pair] | None = None
    windows: tuple[Pair, ...] = ()
    lengths: Mapping[str, int] = field(default_factory=dict)


def plain(size: Pair) -> int | list[int]:
    """A size as JSON has it: one number of a square, else both."""
    return size[0] if size[0] == size[1] else list(size)


def like(value: Any, new: Pair) -> Any:
    """A size in the form that a value has: by names, as a list, or as one number where it can."""
    if isinstance(value, Mapping):
        return {**value, "height": new[0], "width": new[1]}
    return list(new) if isinstance(value, list) else plain(new)


def reconfigured(config: Mapping[str, Any], sizes: Sizes, *, is_processor: bool = False) -> Any:
    """Return a configuration in which every mention of an old size is one of the new.

    A size keeps the form that it has: `224`, `[224, 224]`, `[3, 224, 224]` or
    `{"height": 224, "width": 224}`; a number becomes a pair where the new size is no square.

    Args:
        config: as JSON has it.
        sizes: what changes.
        is_processor: whether this is an image processor's file, which calls it `size`.
    """
    words = dict.fromkeys(_IMAGE + (_PICTURE if is_processor else ()), sizes.image)
    words |= dict.fromkeys(_PATCH, sizes.patch) | dict.fromkeys(_WINDOW, sizes.window)
    made = _with_new_sizes(config, words)
    said = {word: new for word, new in sizes.lengths.items() if word in config}
    return {**made, **said} if said else made


def _with_new_sizes(node: Any, words: Mapping[str, tuple[Pair, Pair] | None]) -> Any:
    if isinstance(node, list):
        return [_with_new_sizes(item, words) for item in node]
    if not isinstance(node, Mapping):
        return node
    return {name: _value(name, value, words) for name, value in node.items()}


def _value(name: str, value: Any, words: Mapping[str, tuple[Pair, Pair] | None]) -> Any:
    if name in _RECORDS:
        return value
    pair = words.get(name)
    if pair is not None and (made := _in_form(value, *pair)) is not None:
        return made
    return _with_new_sizes(value, words)


def _in_form(value: Any, old: Pair, new: Pair) -> Any:
    """The new size in the form of the old one; `None` where `value` is no such size."""
    if type(value) is int:
        fits = (value, value) == old
        return plain(new) if fits else None
    if isinstance(value, list) and tuple(value[-2:]) == old and 2 <= len(value) <= 3:
        return [*value[:-2], *new]
    if isinstance(value, Mapping):
        return _of_sides(value, old, new)
    return None


def _of_sides(value: Mapping[str, Any], old: Pair, new: Pair) -> Any:
    if (value.get("height"), value.get("width")) == old:
        return {**value, "height": new[0], "width": new[1]}
    if value.get("shortest_edge") == min(old):
        return {**value, "shortest_edge": min(new)}
    return None
