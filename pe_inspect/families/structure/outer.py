"""Pairs of tensors in attention whose sum is a table: one along rows, one along columns.

Each has a single entry where the other has a side: (1, heads, head_dim, rows, 1) and
(1, heads, head_dim, 1, columns). Queries are multiplied with the sum, as in the attention of
BoTNet that many keep in this form; where the grid lies in the shapes is how it is laid out there.

Source: arXiv:2101.11605 (BoTNet), section 3.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod
from typing import Final

import numpy as np

from pe_inspect.arrays import Float32
from pe_inspect.families.structure.names import NamedTensor, pair_axis, says_relative
from pe_inspect.families.structure.structure import Structure
from pe_inspect.families.structure.towers import Survey, extra_tokens
from pe_inspect.kinds.parts import checked_grid
from pe_inspect.kinds.position_embedding import LayerPE, PositionEmbedding

__all__ = ["OuterPair", "find_outer", "outer_embedding"]

FAMILY: Final = "learned_absolute"
_AXES: Final = 2


@dataclass(frozen=True)
class OuterPair:
    """Two tensors of one module that are broadcast against each other and added.

    Attributes:
        down: has the side of the rows.
        across: has the side of the columns.
        sides: rows and columns.
        at: the two axes of them.
    """

    down: NamedTensor
    across: NamedTensor
    sides: tuple[int, int]
    at: tuple[int, int]


def find_outer(seen: Survey) -> tuple[OuterPair, ...]:
    """Return every such pair of a file, in its order."""
    groups: dict[str, list[NamedTensor]] = defaultdict(list)
    for named in seen.those(_may_be_half):
        if pair := pair_axis(named.path):
            groups[pair[0]].append(named)
    if not groups:
        return ()
    made = _channels_made(seen)
    found = (_pair(*own) for own in groups.values() if len(own) == _AXES)
    return tuple(pair for pair in found if pair is not None and _is_whole(pair, made))


def _may_be_half(named: NamedTensor) -> bool:
    is_long = named.is_floating and len(named.shape) > _AXES
    return is_long and says_relative(named.path) and pair_axis(named.path) is not None


def _pair(one: NamedTensor, other: NamedTensor) -> OuterPair | None:
    """Join two tensors of which each has a 1 where the other has a side."""
    if len(one.shape) != len(other.shape):
        return None
    differ = [i for i, (a, b) in enumerate(zip(one.shape, other.shape)) if a != b]
    if len(differ) != _AXES:
        return None
    first, second = differ
    down, across = (one, other) if one.shape[first] > 1 else (other, one)
    crossed = down.shape[second], across.shape[first]
    sides = down.shape[first], across.shape[second]
    return OuterPair(down, across, sides, (first, second)) if crossed == (1, 1) else None


def _channels_made(seen: Survey) -> Mapping[str, set[int]]:
    """Return, by the path of a module, how many channels its own layers make."""
    made: dict[str, set[int]] = defaultdict(set)
    for named in seen.tensors.values():
        if named.leaf == "weight" and len(named.shape) > 1:
            made[named.module.rpartition(".")[0]].add(named.shape[0])
    return made


def _is_whole(pair: OuterPair, made: Mapping[str, set[int]]) -> bool:
    """Whether the two have all channels of a layer beside them, and not a half of them each."""
    channels = _channels(pair)
    own = made.get(pair.down.module, set())
    return bool({channels, 3 * channels} & own)


def _channels(pair: OuterPair) -> int:
    return pair.down.size // pair.sides[0]


def outer_embedding(structure: Structure, pairs: tuple[OuterPair, ...]) -> PositionEmbedding:
    """Read pairs: a table (rows·columns, heads·head_dim) a layer, that acts inside attention."""
    seen, first = structure.seen, pairs[0].down
    tower = seen.tower_holding(first.path) or structure.main_tower
    tokens = extra_tokens(seen, first.path, tower.width if tower else 0)
    said = structure.hints.num_prefix_tokens
    why = "rows and columns added, as queries are multiplied with the sum of the two"
    return PositionEmbedding(
        family=FAMILY,
        kind="vectors",
        join="layer",
        tables=tuple(_layers(structure, pairs)),
        norms=structure.norms(tower),
        notes=(why, *structure.norm_notes),
        keys=structure.stored(t.path for pair in pairs for t in (pair.down, pair.across)),
        num_prefix_tokens=tokens.prefix if said is None else said,
        depth=len(pairs),
        num_parameters=sum(t.size for pair in pairs for t in (pair.down, pair.across)),
    )


def _layers(structure: Structure, pairs: tuple[OuterPair, ...]) -> Iterator[LayerPE]:
    for pair in pairs:
        block = structure.seen.in_block.get(pair.down.path)
        layers = structure.layers(structure.seen.tower_holding(pair.down.path))
        place = block.path if block else pair.down.module
        yield LayerPE(layers.get(place, place), _table(structure, pair), checked_grid(pair.sides))


def _table(structure: Structure, pair: OuterPair) -> Float32[np.ndarray, "patches channels"]:
    down, across = (structure.trunk.float32(t.key) for t in (pair.down, pair.across))
    whole = np.moveaxis(down + across, pair.at, (0, 1))
    return np.ascontiguousarray(whole.reshape(prod(pair.sides), -1))
