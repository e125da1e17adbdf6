"""Small networks from an offset to a bias a head, whatever they are called.

A network of two or three inputs, as many outputs as there are heads, beside attention. Where
linear layers are parted by norms it is the dynamic position bias of CrossFormer, and is evaluated
on the window that a stored index or stored coordinates tell; of others the coordinates are in no
file.

Sources: arXiv:2108.00154 (CrossFormer), section 3.3; arXiv:2111.09883 (Swin v2), section 3.3.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final

import numpy as np

from pe_inspect.arrays import Float32
from pe_inspect.families.reading.tensors import NamedTensors
from pe_inspect.families.structure.blocks import is_norm
from pe_inspect.families.structure.names import (
    NamedTensor,
    is_no_position,
    says_position,
    says_relative,
)
from pe_inspect.families.structure.towers import Survey

__all__ = ["OffsetNet", "by_block", "find_networks", "values_at"]

_INPUTS: Final = (2, 3)
_MOST_HEADS: Final = 128
_EPS: Final = 1e-5  # that of torch.nn.LayerNorm, which all of these use


@dataclass(frozen=True)
class OffsetNet:
    """One network.

    Attributes:
        stem: the path of its module.
        tensors: its parameters, in the file's order.
        place: the block that holds it; empty outside the blocks.
        inputs: how many coordinates it is given.
        heads: how many numbers it gives.
        coordinates: a stored table of what it is given.
        indices: stored indices of its table, the nearest ones.
    """

    stem: str
    tensors: tuple[NamedTensor, ...] = field(repr=False)
    place: str
    inputs: int
    heads: int
    coordinates: NamedTensor | None = field(default=None, repr=False)
    indices: tuple[NamedTensor, ...] = field(default=(), repr=False)

    @property
    def matrices(self) -> tuple[NamedTensor, ...]:
        """Its linear layers."""
        return _matrices(self.tensors)

    @property
    def norms(self) -> tuple[NamedTensor, ...]:
        """The weights of its norms."""
        around = {t.path: t for t in self.tensors}
        return tuple(t for t in self.tensors if is_norm(t.path, t, around))


def find_networks(seen: Survey) -> tuple[OffsetNet, ...]:
    """Return every such network on the vision side of a file, in the file's order."""
    stems = {_stem(t): t for t in seen.tensors.values() if _may_begin(seen, t)}
    if not stems:
        return ()
    members = _members(seen, stems)
    found = (_net(seen, stem, members[stem]) for stem in stems)
    return tuple(net for net in found if net is not None)


def _may_begin(seen: Survey, named: NamedTensor) -> bool:
    is_matrix = named.is_floating and len(named.shape) == 2 and named.leaf == "weight"
    if not is_matrix or named.shape[1] not in _INPUTS or named.shape[0] in _INPUTS[1:]:
        return False
    return f"{named.module}.bias" in seen.tensors and not seen.is_text(named.path)


def _stem(named: NamedTensor) -> str:
    return named.module.rpartition(".")[0]


def _members(seen: Survey, stems: Mapping[str, NamedTensor]) -> Mapping[str, Sequence[NamedTensor]]:
    """Return the tensors below each stem; every path is walked once."""
    found: dict[str, list[NamedTensor]] = defaultdict(list)
    for path, tensor in seen.tensors.items():
        at = path.find(".")
        while at >= 0:
            if path[:at] in stems:
                found[path[:at]].append(tensor)
            at = path.find(".", at + 1)
    return found


def _matrices(tensors: Sequence[NamedTensor]) -> tuple[NamedTensor, ...]:
    return tuple(t for t in tensors if len(t.shape) == 2 and t.leaf == "weight" and t.is_floating)


def _net(seen: Survey, stem: str, own: Sequence[NamedTensor]) -> OffsetNet | None:
    matrices = _matrices(own)
    shapes = [matrix.shape for matrix in matrices]
    is_chain = len(shapes) > 1 and all(a[0] == b[1] for a, b in pairwise(shapes))
    if not is_chain or shapes[0][1] not in _INPUTS or is_no_position(stem):
        return None
    block, heads = seen.in_block.get(own[0].path), shapes[-1][0]
    says = says_relative(stem) or says_position(stem)
    widest = max((t.width for t in seen.towers), default=0)
    if block is None and not (says and 2 * heads <= widest):
        return None
    if heads > _MOST_HEADS or (block and (not block.attends or 2 * heads > max(2, block.width))):
        return None
    around = stem.rpartition(".")[0]
    beside = seen.by_module.get(around, ())
    return OffsetNet(
        stem,
        tuple(own),
        block.path if block else "",
        shapes[0][1],
        heads,
        next((t for t in beside if t.is_floating and _are_coordinates(t, shapes[0][1])), None),
        _indices(seen, beside),
    )


def _are_coordinates(named: NamedTensor, inputs: int) -> bool:
    return named.leaf != "weight" and len(named.shape) > 1 and named.shape[-1] == inputs


def _indices(seen: Survey, beside: Sequence[NamedTensor]) -> tuple[NamedTensor, ...]:
    """Return the square indices beside a network; else those at the root."""
    own = tuple(t for t in beside if _is_square_index(t))
    return own or tuple(t for t in seen.by_module.get("", ()) if _is_square_index(t))


def _is_square_index(named: NamedTensor) -> bool:
    shape = named.squeezed
    return named.is_index and len(shape) == 2 and shape[0] == shape[1]


def values_at(
    tensors: NamedTensors, net: OffsetNet, coordinates: Float32[np.ndarray, "offsets inputs"]
) -> Float32[np.ndarray, "offsets heads"]:
    """Return what a network of norms, ReLUs and linear layers gives for coordinates."""
    own = {t.path: tensors.float32(t.key) for t in net.tensors}
    norms, matrices = list(net.norms), net.matrices
    after = _linear(own, matrices[0], coordinates.astype(np.float64))
    for norm, matrix in zip(norms, matrices[1:]):
        scale, shift = own[norm.path], own[f"{norm.module}.bias"]
        after = _linear(own, matrix, np.maximum(_normed(after) * scale + shift, 0))
    return np.asarray(after, np.float32)


def _linear(own: Mapping[str, np.ndarray], matrix: NamedTensor, given: np.ndarray) -> np.ndarray:
    bias = own.get(f"{matrix.module}.bias")
    made = given @ own[matrix.path].T.astype(np.float64)
    return made if bias is None else made + bias


def _normed(given: np.ndarray) -> np.ndarray:
    centred = given - given.mean(axis=1, keepdims=True)
    return np.asarray(centred / np.sqrt(np.square(centred).mean(axis=1, keepdims=True) + _EPS))


def by_block(nets: Sequence[OffsetNet]) -> Iterator[tuple[OffsetNet, int]]:
    """Yield each network and its number among those of its block."""
    counts: dict[str, int] = defaultdict(int)
    for net in nets:
        yield net, counts[net.place]
        counts[net.place] += 1
