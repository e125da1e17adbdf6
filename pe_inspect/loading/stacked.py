"""Blocks that JAX's scan keeps in one array, under the names of single blocks.

big_vision's newer files hold `Transformer/encoderblock/LayerNorm_0/scale` of shape (depth, D); what
is read elsewhere are `Transformer/encoderblock_0/…`, as the files without scan have them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from pe_inspect.loading.checkpoint import StoredTensor

__all__ = ["unstacked"]

_STACKED: Final = re.compile(r"((?:.*/)?encoderblock)/(.+)")


def unstacked(
    tensors: Mapping[str, StoredTensor],
) -> tuple[dict[str, StoredTensor], tuple[str, ...]]:
    """Return the tensors with every stack of blocks split, lazily, and a note where there is one.

    A stack whose arrays disagree about the number of blocks is left as it is.
    """
    depths = _depths(tensors)
    split: dict[str, StoredTensor] = {}
    for name, tensor in tensors.items():
        match = _STACKED.fullmatch(name)
        blocks = depths.get(match[1]) if match else None
        if match is None or blocks is None:
            split[name] = tensor
            continue
        slices = ((f"{match[1]}_{i}/{match[2]}", _slice(tensor, i)) for i in range(blocks))
        split.update(slices)
    return split, tuple(
        f"{stem} holds {blocks} blocks in one array each; read as {stem}_0 … {stem}_{blocks - 1}"
        for stem, blocks in depths.items()
    )


def _depths(tensors: Mapping[str, StoredTensor]) -> dict[str, int]:
    """The number of blocks of every stack, where its arrays agree about it."""
    found: dict[str, set[int]] = {}
    for name, tensor in tensors.items():
        if match := _STACKED.fullmatch(name):
            found.setdefault(match[1], set()).add(tensor.shape[0] if tensor.shape else 0)
    return {stem: min(sizes) for stem, sizes in found.items() if len(sizes) == 1 and min(sizes)}


def _slice(tensor: StoredTensor, block: int) -> StoredTensor:
    return replace(
        tensor,
        shape=tensor.shape[1:],
        read=lambda: tensor.read()[block],
        storage=("slice", tensor.storage or tensor.key, block),
    )
