"""Tensors that act together and do not fit each other: their names and shapes are said."""

from __future__ import annotations

from collections.abc import Mapping

from pe_inspect.errors import AmbiguousCheckpoint
from pe_inspect.families.trunk import Trunk

__all__ = ["refuse_misfits"]


def refuse_misfits(trunk: Trunk, wanted: Mapping[str, str]) -> None:
    """Compare the shapes of tensors that act together; no values are read.

    Args:
        trunk: which holds them.
        wanted: key → its axes: one word has one length in all of them, and a number is a length,
            e.g. `{"fc1.weight": "hidden 2", "fc1.bias": "hidden"}`.

    Raises:
        AmbiguousCheckpoint: they do not fit.
    """
    lengths = dict[str, int]()
    if all(_fits(trunk.shape(key), axes.split(), lengths) for key, axes in wanted.items()):
        return
    held = ", ".join(f"{trunk.stored_key(key)} {trunk.shape(key)}" for key in wanted)
    axes = ", ".join(f"({each.replace(' ', ', ')})" for each in wanted.values())
    raise AmbiguousCheckpoint(
        f"{trunk.source} holds {held}. They act together, and their shapes would be {axes}. "
        "The file mixes two models, or is damaged."
    )


def _fits(shape: tuple[int, ...], axes: list[str], lengths: dict[str, int]) -> bool:
    """Whether a shape has these axes; the length of a word that is met first is kept."""
    return len(shape) == len(axes) and all(
        length == (int(axis) if axis.isdigit() else lengths.setdefault(axis, length))
        for axis, length in zip(axes, shape)
    )
