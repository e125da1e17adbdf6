"""Who said a hint: a flag binds, a config.json or a Namespace in the file may be out of date."""

from __future__ import annotations

from typing import Final

from pe_inspect.loading.checkpoint import Checkpoint

__all__ = ["is_flag", "is_of_config", "origin"]

CONFIG: Final = "config.json"


def origin(checkpoint: Checkpoint, hint: str) -> str:
    """Return who said a hint: `"--grid-size"`, `"config.json"`, `"args in the file"`."""
    return checkpoint.hints.origins.get(hint, f"--{hint.replace('_', '-')}")


def is_flag(checkpoint: Checkpoint, hint: str) -> bool:
    """Whether a hint was given by the user, and not found in a config or in the file."""
    said = getattr(checkpoint.hints, hint) is not None
    return said and origin(checkpoint, hint).startswith("--")


def is_of_config(checkpoint: Checkpoint, hint: str) -> bool:
    """Whether a hint was found in the config.json that came with the weights."""
    return getattr(checkpoint.hints, hint) is not None and origin(checkpoint, hint) == CONFIG
