"""What a caller of `load` says of a checkpoint: keyword arguments by the options' names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, TypedDict

import numpy as np

from pe_inspect.errors import UsageError
from pe_inspect.loading.checkpoint import Hints
from pe_inspect.registry import did_you_mean

__all__ = ["Known", "hinted"]

_SIZES: Final = ("grid_size", "patch_size")
_COUNTS: Final = ("num_prefix_tokens", "num_heads")


class Known(TypedDict, total=False):
    """The hints that a caller can give by name; sizes are (H, W), or texts such as `"14x14"`."""

    grid_size: tuple[int, int] | str
    num_prefix_tokens: int
    patch_size: tuple[int, int] | int | str
    num_heads: int
    family: str
    join: str
    ln_eps: float
    arch: str


def hinted(hints: Hints | None, said: Mapping[str, Any]) -> Hints:
    """Return `hints` with what was said by name put over them.

    Raises:
        UsageError: an argument that there is not, or a value that it cannot have.
    """
    given = {
        name: _checked_argument(name, value) for name, value in said.items() if value is not None
    }
    named = Hints(**given, origins={name: name for name in given})
    return named if hints is None else named.over(hints)


def _checked_argument(name: str, value: Any) -> Any:
    if name not in Known.__annotations__:
        raise UsageError(did_you_mean("argument of load", name, list(Known.__annotations__)))
    if name in _SIZES:
        return _rows_and_columns(name, value)
    least = 1 if name == "num_heads" else 0
    if name in _COUNTS and (not isinstance(value, (int, np.integer)) or value < least):
        raise UsageError(f"{name}={value!r} is not a whole number of at least {least}.")
    if name == "ln_eps" and not (isinstance(value, (int, float)) and 0 <= value < 1):
        raise UsageError(f"ln_eps={value!r} is no ε of a norm; they are like 1e-6.")
    return value


def _rows_and_columns(name: str, value: Any) -> tuple[int, ...]:
    """Return rows and columns from a pair, a text, or, for a patch, from one side."""
    sides = value
    if isinstance(value, str) and re.fullmatch(r"\d{1,9}(?:[xX×]\d{1,9}){0,2}", value):
        sides = [int(side) for side in re.split("[xX×]", value)]
    sides = list(sides) if isinstance(sides, (tuple, list)) else [sides]
    if name == "patch_size" and len(sides) == 1:
        sides *= 2
    allowed = (2, 3) if name == "grid_size" else (2,)
    if len(sides) not in allowed or not all(
        isinstance(side, (int, np.integer)) and side > 0 for side in sides
    ):
        raise UsageError(f"{name}={value!r} is no rows and columns; pass (14, 14) or '14x14'.")
    return tuple(int(side) for side in sides)
