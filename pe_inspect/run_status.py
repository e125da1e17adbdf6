"""How far a run of ours came, as its folder says: read without anything that trains."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

__all__ = ["FINISHED", "WEIGHTS", "unfinished"]

WEIGHTS: Final = "model.safetensors"
FINISHED: Final = "finished"  # the status in config.json


def unfinished(checkpoint: Path) -> str:
    """Return how far the run came that left these weights, e.g. `interrupted in epoch 2`.

    Empty where it came to its end, and where the weights are not the last ones of a run of ours.

    Args:
        checkpoint: a folder, or a file in one.
    """
    weights = checkpoint / WEIGHTS if checkpoint.is_dir() else checkpoint
    try:
        config = json.loads(weights.with_name("config.json").read_text(encoding="utf-8"))
        status = str(config["status"]) if "recipe" in config else FINISHED
    except (OSError, ValueError, KeyError, TypeError):
        status = FINISHED
    return "" if status == FINISHED or weights.name != WEIGHTS else status
