"""Module paths of the first house: each gives the names of its new place for one release."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable
from typing import Any

__all__ = ["names_of"]


def names_of(new: str, *, old: str) -> Callable[[str], Any]:
    """Return the `__getattr__` of a module whose names are those of another one now.

    Args:
        new: the dotted name of the module that holds them.
        old: that of the module that used to.
    """

    def look_up(name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(f"module {old!r} has no attribute {name!r}")
        found = getattr(importlib.import_module(new), name)
        warnings.warn(
            f"{old}.{name} is {new}.{name} now; the old path goes with the next release.",
            DeprecationWarning,
            stacklevel=2,
        )
        return found

    return look_up
