"""What the shapes of a state dict say of a model."""

from __future__ import annotations

import re
from collections.abc import Iterable

from pe_inspect.loading.checkpoint import Checkpoint

__all__ = ["count_blocks", "ratio_of", "stated_eps"]


def count_blocks(keys: Iterable[str], name: str) -> int:
    """Return how many blocks there are: one more than the largest index in `NAME.#.`."""
    found = (re.match(rf"{name}\.(\d+)\.", key) for key in keys)
    return max((int(match[1]) for match in found if match), default=-1) + 1


def ratio_of(hidden: int, width: int) -> float:
    """Return the MLP ratio from which `int(width · ratio)` gives `hidden` back."""
    ratio = hidden / width
    return ratio if int(width * ratio) == hidden else (hidden + 0.5) / width


def stated_eps(checkpoint: Checkpoint, usual: float) -> float:
    """Return ε as a flag says it, else the usual one: no file stores it."""
    said = checkpoint.hints.ln_eps
    return said if said is not None and checkpoint.hints.is_flag("ln_eps") else usual
