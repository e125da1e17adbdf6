"""Tensors that act together and do not fit each other: their names and shapes are said."""

from __future__ import annotations

from collections.abc import Mapping

from pe_inspect.errors import AmbiguousCheckpoint
from pe_inspect.loading.checkpoint import Checkpoint

__all__ = ["refuse_misfits"]


def refuse_misfits(checkpoint: Checkpoint, wanted: Mapping[str, str]) -> None:
    """Compare the shapes of tensors that act together; no values are read.

    Args:
        checkpoint: which holds them.
        wanted: key → its axes: one word has one length in all of them, and a number is a length,
            e.g. `{"fc1.weight": "hidden 2", "fc1.bias": "hidden"}`.

    Raises:
        AmbiguousCheckpoint: they do not fit.
    """
    lengths = dict[str, int]()
    if all(_fits(checkpoint.shape(key), axes.split(), lengths) for key, axes in wanted.items()):
        return
    held = ", ".join(f"{checkpoint.stored_key(key)} {checkpoint.shape(key)}" for key in wanted)
    axes = ", ".join(f"({each.replace(' ', ', ')})" for each in wanted.values())
    raise AmbiguousCheckpoint(
        f"{checkpoint.source} holds {held}. They act together, and their shapes would be {axes}. "
        "The file mixes two models, or is damaged."
    )


def _fits(shape: tuple[int, ...], axes: list[str], lengths: dict[str, int]) -> bool:
    """Whether a shape has these axes; the length of a word that is met first is kept."""
    return len(shape) == len(axes) and all(
        length == (int(axis) if axis.isdigit() else lengths.setdefault(axis, length))
        for axis, length in zip(axes, shape)
    )
