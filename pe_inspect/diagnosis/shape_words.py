"""How two shapes of a position tensor can come about, where no scheme says: every way that fits."""

from __future__ import annotations

import re
from collections.abc import Iterator
from math import isqrt
from typing import Final

from pe_inspect.families.reading.grid import x

__all__ = ["is_position", "shape_words"]

Shape = tuple[int, ...]
MOST_PREFIX_ROWS: Final = 2
# Words of the field for what depends on position; a tensor with none of them is one by its form.
WORD: Final = re.compile(
    r"(?:^|[._/])(?:\w*pos(?:ition\w*|_?emb\w*)?|\w*relative\w*|\w*rel_\w*|(?:time|temporal)_emb\w*|"
    r"rope\w*|rotary\w*|freqs?\w*|\w*coords?\w*|attention_bias\w*|cpb_mlp|attn_mask|periods)(?:[._/]|$)"
)
LAYER: Final = re.compile(r"(?:^|[._/])(?:weight|bias|kernel|scale|gamma|beta|running_\w+)$")


def is_position(name: str, here: Shape = (), there: Shape = ()) -> bool:
    """Whether a tensor belongs to the positions: by a word in its name, or by its form.

    By its form, one that is no weight or bias of a layer, and differs along one axis of places.
    """
    if WORD.search(name):
        return True
    return not LAYER.search(name) and len(here) > 1 and len(_differing(here, there)) == 1


def _differing(here: Shape, there: Shape) -> list[int]:
    if len(here) != len(there):
        return []
    return [axis for axis, (a, b) in enumerate(zip(here, there, strict=True)) if a != b]


def shape_words(here: Shape, there: Shape) -> str:
    """Say how the two shapes can come about; several ways are all told, and none is asserted."""
    axes = _differing(here, there)
    if len(axes) != 1:
        return ""
    ways = list(_ways(here[axes[0]], there[axes[0]]))
    return " or ".join(ways) if ways else f"{here[axes[0]]} places here, {there[axes[0]]} there"


def _ways(a: int, b: int) -> Iterator[str]:
    if a % 2 and b % 2 and max(a, b) < 512:
        yield f"the offsets along an axis of {(a + 1) // 2} patches here, {(b + 1) // 2} there"
    for prefix in range(MOST_PREFIX_ROWS + 1):
        sides = isqrt(max(a - prefix, 0)), isqrt(max(b - prefix, 0))
        if min(sides) > 1 and [side**2 + prefix for side in sides] == [a, b]:
            rows = f"{prefix} + " if prefix else ""
            grids = [f"{rows}{x((side, side))}" for side in sides]
            yield f"{grids[0]} here, {grids[1]} there"
