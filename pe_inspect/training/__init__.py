"""Recipe → checkpoint: `train(recipes["digits-lape"])`.

The names are resolved on first use: listing recipes loads no torch, and asking whether a run is
finished (`pe_inspect/checkpoint_files.py`) loads no recipes.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from pe_inspect.training.catalog import DEFAULT_RECIPE, checkpoint_folder, recipes
    from pe_inspect.training.export_pth import export
    from pe_inspect.training.progress import (
        Progress,
        TrainingAbandoned,
        TrainingDiverged,
        TrainingInterrupted,
    )
    from pe_inspect.training.recipe import Recipe
    from pe_inspect.training.trainer import train

_HOMES: Final = {
    "DEFAULT_RECIPE": "catalog",
    "Progress": "progress",
    "TrainingAbandoned": "progress",
    "TrainingDiverged": "progress",
    "TrainingInterrupted": "progress",
    "Recipe": "recipe",
    "checkpoint_folder": "catalog",
    "export": "export_pth",
    "recipes": "catalog",
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
