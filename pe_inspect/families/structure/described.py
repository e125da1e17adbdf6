"""What a file holds and nothing tells the grid of: described by kind, heads, layers and keys."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np

from pe_inspect.families.structure.names import (
    NamedTensor,
    is_no_position,
    is_of_steps,
    says_relative,
    says_rotation,
)
from pe_inspect.families.structure.structure import Structure
from pe_inspect.families.structure.towers import extra_tokens
from pe_inspect.kinds.held_values import frozen_array
from pe_inspect.kinds.parts import checked_grid
from pe_inspect.kinds.position_embedding import Kind, LayerPE, PositionEmbedding

__all__ = ["described_biases", "described_rotations", "placeless"]

_MOST_HEADS: Final = 128
_BY_HEAD: Final = 4  # axes of (2, blocks, heads, angles)


def placeless(layer: str, heads: int, part: str = "") -> LayerPE:
    """Return a table of so many heads for no places: nothing tells the grid."""
    return LayerPE(layer, frozen_array(np.zeros((heads, 0, 0))), checked_grid(None), part=part)


def described_rotations(
    structure: Structure, why: str, taken: Iterable[str] = ()
) -> list[PositionEmbedding]:
    """Describe stored frequencies or periods of rotations, whose angles depend on the grid.

    Args:
        structure: of the file.
        why: what is missing, and the flags that say it.
        taken: the file's names of tensors that were read.
    """
    named, known = why.split(" ")[0], set(taken)
    own = [
        t
        for t in structure.seen.tensors.values()
        if _is_frequencies(structure, t) or structure.stored([t.path])[0] == named
    ]
    own = [t for t in own if structure.stored([t.path])[0] not in known]
    if not own:
        return []
    heads = own[0].shape[2] if len(own[0].shape) == _BY_HEAD else 1
    tower = structure.main_tower
    blocks = list(structure.layers(tower).values()) or ["blocks.0"]
    tables = [placeless(block, heads) for block in blocks]
    return [_embedding(structure, "rotary", "phases", tables, own, why)]


def _is_frequencies(structure: Structure, named: NamedTensor) -> bool:
    path = named.path
    if not named.is_floating or not says_rotation(path) or structure.seen.is_text(path):
        return False
    return named.leaf not in ("weight", "bias") and named.size > 1 and not is_of_steps(path)


def described_biases(structure: Structure) -> list[PositionEmbedding]:
    """Describe tables of biases in attention that are of no form known here.

    Args:
        structure: of a file in which nothing was read.
    """
    own = [t for t in structure.seen.tensors.values() if _is_bias(structure, t)]
    if not own:
        return []
    blocks = structure.seen.in_block
    layers = structure.layers(structure.seen.tower_holding(own[0].path))
    tables = [
        placeless(layers.get(blocks[t.path].path, blocks[t.path].path), _heads(t)) for t in own
    ]
    why = (
        f"{structure.stored([own[0].path])[0]} of shape {own[0].shape} is a bias of attention in a "
        "form that this version does not place on a grid"
    )
    return [_embedding(structure, "relative_bias", "bias", tables, own, why)]


def _is_bias(structure: Structure, named: NamedTensor) -> bool:
    seen, path = structure.seen, named.path
    block = seen.in_block.get(path)
    if block is None or not block.attends or not named.is_floating or not seen.kernels:
        return False
    if is_no_position(path) or says_rotation(path) or seen.has_bias(named) or seen.is_text(path):
        return False
    says = "rel" in path.lower() or "pos" in path.lower()
    return says and says_relative(path) and "bias" in path.lower() and named.leaf != "bias"


def _heads(named: NamedTensor) -> int:
    return named.shape[-1] if len(named.shape) > 1 and named.shape[-1] <= _MOST_HEADS else 1


def _embedding(
    structure: Structure,
    family: str,
    kind: Kind,
    tables: Sequence[LayerPE],
    own: Sequence[NamedTensor],
    why: str,
) -> PositionEmbedding:
    tower = structure.seen.tower_holding(own[0].path) or structure.main_tower
    tokens = extra_tokens(structure.seen, own[0].path, tower.width if tower else 0)
    said = structure.hints.num_prefix_tokens
    return PositionEmbedding(
        family=family,
        kind=kind,
        join="layer",
        tables=tuple(tables),
        norms=structure.norms(tower),
        notes=(why, *structure.norm_notes),
        keys=structure.stored(t.path for t in own),
        num_prefix_tokens=tokens.prefix if said is None else said,
        depth=tower.depth if tower else len(tables),
        num_parameters=sum(t.size for t in own),
    )
