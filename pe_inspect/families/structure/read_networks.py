"""From networks of offsets, and from what nothing tells the grid of, to position embeddings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from math import prod
from typing import Final

import numpy as np

from pe_inspect.arrays import Float32, Int
from pe_inspect.families.structure.bias_shapes import windows_of
from pe_inspect.families.structure.described import placeless
from pe_inspect.families.structure.grids import written
from pe_inspect.families.structure.names import NamedTensor
from pe_inspect.families.structure.networks import OffsetNet, by_block, values_at
from pe_inspect.families.structure.read_biases import offset_index
from pe_inspect.families.structure.structure import Structure
from pe_inspect.families.structure.towers import extra_tokens
from pe_inspect.kinds.held_values import Lookup
from pe_inspect.kinds.offset_network import OffsetNetwork
from pe_inspect.kinds.parts import checked_grid
from pe_inspect.kinds.position_embedding import LayerPE, PositionEmbedding

__all__ = ["network_embedding"]

FAMILY: Final = "bias_network"
_LAYERS: Final = 2  # of Swin v2's networks
_NOTHING_PAST: Final = "nothing added past them"
_FAR: Final = 64  # tokens a side of the widest window that is looked for by an index

Window = tuple[int, ...]


def network_embedding(structure: Structure, nets: Sequence[OffsetNet]) -> PositionEmbedding:
    """Evaluate networks where norms part their layers and the file tells the window.

    Others are described: heads and layers, and no grid.
    """
    made = [_table(structure, net, at) for net, at in by_block(nets)]
    tower = structure.seen.tower_holding(nets[0].matrices[0].path) or structure.main_tower
    blocks = structure.layers(tower)
    notes = tuple(dict.fromkeys(note for _, note in made))
    said = structure.hints.num_prefix_tokens
    tokens = extra_tokens(structure.seen, nets[0].stem, tower.width if tower else 0)
    held = [net.place for net in nets if net.place]
    return PositionEmbedding(
        family=FAMILY,
        kind="function",
        join="layer",
        tables=tuple(
            layer
            for net, (table, _) in zip(nets, made)
            for layer in _layers(net, table, blocks, len(nets) > len(set(held)))
        ),
        norms=structure.norms(tower),
        notes=(*notes, *structure.norm_notes),
        keys=structure.stored(t.path for net in nets for t in net.tensors),
        num_prefix_tokens=tokens.prefix if said is None else said,
        depth=max(len(set(held)), len(blocks)),
        num_parameters=sum(t.size for net in nets for t in net.tensors),
    )


Made = tuple[tuple[Window, Lookup] | None, str]


def _layers(
    net: OffsetNet, made: tuple[Window, Lookup] | None, names: Mapping[str, str], is_many: bool
) -> Iterator[LayerPE]:
    blocks = [names.get(net.place, net.place)] if net.place else list(names.values())
    part = net.stem.removeprefix(net.place).strip(".") if is_many else ""
    for block in blocks or ["blocks.0"]:
        if made is None:
            yield placeless(block, net.heads, part)
        else:
            yield LayerPE.from_lookup(block, made[1], checked_grid(made[0]), part=part)


def _table(structure: Structure, net: OffsetNet, number: int) -> Made:
    is_bounded = _is_bounded(structure, net)
    if len(net.norms) != len(net.matrices) - 1 and not is_bounded:
        return None, _unknown(structure, net)
    coordinates = structure.trunk.float32(net.coordinates.key) if net.coordinates else None
    index = net.indices[number % len(net.indices)] if net.indices else None
    window = _window(structure, net, index, coordinates)
    if window is None:
        return None, _unknown(structure, net)
    if coordinates is None:
        coordinates = _offsets(window)
    given = coordinates.reshape(-1, net.inputs)
    at = partial(_bounded, structure) if is_bounded else partial(values_at, structure.trunk)
    values = at(net, given)
    past = "16 times the sigmoid past them, as in Swin v2" if is_bounded else _NOTHING_PAST
    why = (
        f"evaluated on the {written(window)} window that the file tells, ReLUs between the layers "
        f"and {past}"
    )
    return (window, Lookup(values.T, _pairs(structure, index, window))), why


def _is_bounded(structure: Structure, net: OffsetNet) -> bool:
    """Whether a network has Swin v2's form beside its stored coordinates: no last bias."""
    if net.coordinates is None or net.norms or len(net.matrices) != _LAYERS:
        return False
    biased = [f"{t.module}.bias" in structure.seen.tensors for t in net.matrices]
    return biased == [True, False]


def _bounded(
    structure: Structure, net: OffsetNet, given: Float32[np.ndarray, "offsets inputs"]
) -> Float32[np.ndarray, "offsets heads"]:
    read = structure.trunk.float32
    first, second = (read(t.key) for t in net.matrices)
    bias = read(structure.seen.tensors[f"{net.matrices[0].module}.bias"].key)
    return OffsetNetwork((first, second), (bias, None))(given)


def _unknown(structure: Structure, net: OffsetNet) -> str:
    name = structure.stored([net.matrices[0].path])[0]
    return (
        f"{name} begins a network from an offset to a bias for each of {net.heads} heads; no "
        "tensor tells the window or the scale of its coordinates (--grid-size HxW, --arch)"
    )


def _pairs(
    structure: Structure, index: NamedTensor | None, window: Window
) -> Int[np.ndarray, "queries keys"]:
    if index is None:
        return offset_index(window)
    return np.asarray(structure.trunk.tensor(index.key), np.int32).reshape(index.squeezed)


def _offsets(window: Window) -> Float32[np.ndarray, "offsets axes"]:
    axes = [np.arange(1 - side, side) for side in window]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
    return grid.reshape(-1, len(window)).astype(np.float32)


def _window(
    structure: Structure,
    net: OffsetNet,
    index: NamedTensor | None,
    coordinates: Float32[np.ndarray, "..."] | None,
) -> Window | None:
    """Return the window of the stored coordinates, else of the index, else the one that is said."""
    said = structure.hints.grid_size
    if said is not None:
        return tuple(said)
    if coordinates is not None:
        rows = coordinates.reshape(-1, net.inputs)
        sides = [len(np.unique(axis)) for axis in rows.T]
        return tuple(side // 2 + 1 for side in sides) if prod(sides) == len(rows) else None
    if index is None:
        return None
    stored = structure.trunk.tensor(index.key).reshape(index.squeezed)
    count, tokens = int(stored.max()) + 1, len(stored)
    options = windows_of(count, tokens, axes=net.inputs) if tokens <= _FAR**2 else ()
    fitting = [w for w in options if np.array_equal(offset_index(w), stored)]
    return fitting[0] if len(fitting) == 1 else None
