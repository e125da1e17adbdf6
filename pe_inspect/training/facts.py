"""What `config.json` says of a run beside its outcome, and whether the recipe fits its data."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pe_inspect.data.dataset import Dataset
from pe_inspect.training.hardware import describe_machine, versions
from pe_inspect.training.loop import Loop
from pe_inspect.training.recipe import Recipe

__all__ = ["circumstances", "describe_data", "through_json"]


def circumstances(recipe: Recipe, dataset: Dataset, loop: Loop) -> dict[str, Any]:
    """Return what a run depends on."""
    which = f"the running average (decay {recipe.ema_decay:g})" if loop.average else "those"
    return {
        "model": recipe.model.to_dict(),
        "recipe": recipe.to_dict(),
        "seed": recipe.seed,
        "data": describe_data(dataset),
        "weights": f"{which} of the last step, as {recipe.stored_as}; the metrics are theirs",
        "machine": describe_machine(loop.device),
        "processes": loop.world.size,
        "precision": str(loop.dtype).removeprefix("torch."),
        "versions": versions(),
    }


def describe_data(dataset: Dataset) -> Mapping[str, Any]:
    """Return what tells one set of images from another."""
    return {
        "name": dataset.name,
        "label": dataset.label,
        "num_train": len(dataset.train),
        "num_test": len(dataset.test),
        "classes": list(dataset.classes),
        "mean": list(dataset.mean),
        "std": list(dataset.std),
    }


def through_json(value: Any) -> Any:
    """Return a value as a file gives it back."""
    return json.loads(json.dumps(value))
