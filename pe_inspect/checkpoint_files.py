"""Which files and folders are checkpoints, what each is called, and how far their run came."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, Final

from pe_inspect.bounded import json_in

__all__ = [
    "EXTRACTION",
    "FINISHED",
    "REPORTS",
    "SUFFIXES",
    "WEIGHTS",
    "checkpoint_name",
    "is_checkpoint_folder",
    "recipe_of",
    "unfinished",
]

WEIGHTS: Final = "model.safetensors"
"""The weights that a run of ours leaves."""

FINISHED: Final = "finished"  # the status in its config.json
SUFFIXES: Final = (".pth", ".pt", ".bin", ".ckpt", ".safetensors", ".npz", ".npy")
EXTRACTION: Final = ".pe.safetensors"
REPORTS: Final = Path("reports")
"""Where files about a checkpoint go, in a folder of its name, unless another place is named."""

# Names that say nothing of what is inside: the folder's name is the checkpoint's.
NAMELESS: Final = re.compile(
    r"(model|pytorch_model|checkpoint|weights|best|last|latest)(-\d+-of-\d+)?$"
)
# What makes a folder a checkpoint itself.
FOLDER_WEIGHTS: Final = (
    "model.safetensors",
    "pytorch_model.bin",
    "model.safetensors.index.json",
    "pytorch_model.bin.index.json",
    "open_clip_model.safetensors",
    "open_clip_pytorch_model.bin",
)


def checkpoint_name(path: Path) -> str:
    """Return what a checkpoint is called: the file's stem, or its folder's name if that is mute."""
    whole = path.absolute()
    if whole.is_dir():
        return whole.resolve().name or "checkpoint"
    stem = whole.name.removesuffix(EXTRACTION) if EXTRACTION in whole.name else whole.stem
    return (whole.parent.name if NAMELESS.match(stem) else stem) or stem


def is_checkpoint_folder(path: Path) -> bool:
    """Whether a folder is a checkpoint itself: it holds weights under one of the usual names."""
    return path.is_dir() and any((path / name).is_file() for name in FOLDER_WEIGHTS)


def unfinished(checkpoint: Path) -> str:
    """Return how far the run came that left these weights, e.g. `interrupted in epoch 2`.

    Empty where it came to its end, and where the weights are not the last ones of a run of ours.

    Args:
        checkpoint: a folder, or a file in one.
    """
    weights = checkpoint / WEIGHTS if checkpoint.is_dir() else checkpoint
    config = _run_config(weights)
    said = config.get("status") if "recipe" in config else FINISHED
    status = said if isinstance(said, str) else FINISHED
    return "" if status == FINISHED or weights.name != WEIGHTS else status


def recipe_of(checkpoint: Path) -> tuple[str, str] | None:
    """Return the recipe of a run of ours, and what it says but for the seed; `None` of others.

    Args:
        checkpoint: a folder, or a file in one.
    """
    recipe = _run_config(checkpoint / WEIGHTS if checkpoint.is_dir() else checkpoint).get("recipe")
    if not isinstance(recipe, dict) or "seed" not in recipe:
        return None
    said = {name: value for name, value in recipe.items() if name != "seed"}
    return str(recipe.get("name", "")), json.dumps(said, sort_keys=True)


def _run_config(weights: Path) -> dict[str, Any]:
    """Return what the config.json beside weights says; nothing where there is none."""
    try:
        config = json_in(weights.with_name("config.json"))
    except (OSError, ValueError):
        return {}
    return config if isinstance(config, dict) else {}
