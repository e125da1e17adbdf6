"""Position tensors that a plan would leave as they are, though nobody knows that they may stay."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Final

from pe_inspect.families.structure.names import (
    is_no_position,
    is_of_time,
    is_textual,
    says_position,
    says_relative,
    says_rotation,
    says_vocabulary,
    token_sort,
)
from pe_inspect.loading.checkpoint import Checkpoint

__all__ = ["left_behind"]

_BUFFER: Final = re.compile(r"ind(?:ex|ices)|idxs?|coords|_ids$|mask|lookup|period|band", re.I)
_OF_LAYER: Final = re.compile(r"\.(?:bias|running_mean|running_var|gamma|beta|scale)$")


def left_behind(
    checkpoint: Checkpoint, understood: Collection[str], changed: Collection[str]
) -> list[str]:
    """Return the stored names of tables that say position and that no reading accounts for.

    Left out are what has no place in an image (tables of text, of time, of queries), buffers that
    follow from a table, and the weights of layers. Names and shapes are read only.

    Args:
        checkpoint: the file.
        understood: stored names of the tensors that are known to serve the new size.
        changed: the checkpoint's names of the tensors that change.
    """
    vocabularies = {_above(key) for key in checkpoint if _is_vocabulary(checkpoint, key)}
    return [
        checkpoint.stored_key(key)
        for key in checkpoint
        if key not in changed
        and checkpoint.stored_key(key) not in understood
        and _is_table(checkpoint, key)
        and _above(key) not in vocabularies
    ]


def _is_table(checkpoint: Checkpoint, key: str) -> bool:
    """Whether a tensor is a table whose name says that it is of places in an image."""
    is_apart = is_textual(key) or is_of_time(key) or is_no_position(key) or says_rotation(key)
    if is_apart or _BUFFER.search(key) or not checkpoint.dtype(key).lower().startswith(("f", "bf")):
        return False
    if len(checkpoint.shape(key)) < 2 or _is_of_layer(checkpoint, key):
        return False
    leaf = key.removesuffix(".weight").rpartition(".")[2]
    return says_position(leaf) or says_relative(leaf)


def _is_vocabulary(checkpoint: Checkpoint, key: str) -> bool:
    is_token = token_sort(key) is not None or len(checkpoint.shape(key)) != 2
    return says_vocabulary(key) and not is_token


def _is_of_layer(checkpoint: Checkpoint, key: str) -> bool:
    """Whether a tensor is a kernel, or a matrix with a bias: no embedding."""
    if not key.endswith(".weight"):
        return bool(_OF_LAYER.search(key))
    return len(checkpoint.shape(key)) > 2 or f"{key.removesuffix('weight')}bias" in checkpoint


def _above(key: str) -> str:
    """The module that holds the one of a tensor: that of a vocabulary holds its positions too."""
    return key.removesuffix(".weight").rpartition(".")[0]
