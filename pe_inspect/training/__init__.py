"""Recipe → checkpoint: `train(recipes["digits-lape"])`.

Listing recipes loads no torch; `train` and `export` load it on first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final

from pe_inspect.training.catalog import DEFAULT_RECIPE, checkpoint_folder, recipes
from pe_inspect.training.recipe import Recipe

if TYPE_CHECKING:
    from pe_inspect.training.export_pth import export
    from pe_inspect.training.progress import (
        Progress,
        TrainingAbandoned,
        TrainingDiverged,
        TrainingInterrupted,
    )
    from pe_inspect.training.trainer import train

_HOMES: Final = {
    "Progress": "progress",
    "TrainingAbandoned": "progress",
    "TrainingDiverged": "progress",
    "TrainingInterrupted": "progress",
    "export": "export_pth",
    "train": "trainer",
}

__all__ = [
    "DEFAULT_RECIPE",
    "Progress",
    "Recipe",
    "TrainingAbandoned",
    "TrainingDiverged",
    "TrainingInterrupted",
    "checkpoint_folder",
    "export",
    "recipes",
    "train",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
