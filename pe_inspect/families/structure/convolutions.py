"""Depthwise convolutions whose names say position, in one, two or three dimensions of any names.

What they add is computed from the tokens; shown is their response to an input of ones, which is
all that zero padding tells.

Source: arXiv:2102.10882 (CPVT), section 3.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np

from pe_inspect.arrays import Float32
from pe_inspect.families.reading.kernels import response
from pe_inspect.families.structure.grids import written
from pe_inspect.families.structure.names import NamedTensor, says_position
from pe_inspect.families.structure.structure import Structure
from pe_inspect.families.structure.towers import Survey, extra_tokens
from pe_inspect.kinds.parts import checked_grid
from pe_inspect.kinds.position_embedding import LayerPE, PositionEmbedding

__all__ = ["convolutions_embedding", "find_convolutions", "keys_of"]

FAMILY: Final = "conditional"
_WORDS: Final = re.compile(
    r"(?:^|[._])(?:peg|cpe\d?|lepe)(?:$|[._])|pos\w*_?conv|conv\w*_pos", re.I
)
_SHOWN: Final = {2: (14, 14), 3: (8, 14, 14)}  # where nothing says a grid: ViT's, and VideoMAE's


def find_convolutions(seen: Survey) -> tuple[NamedTensor, ...]:
    """Return the kernels of every such convolution, in the file's order."""
    return tuple(seen.those(lambda each: _is_kernel(each) and _says(each.module)))


def _is_kernel(named: NamedTensor) -> bool:
    shape = named.shape
    if not named.is_floating or named.leaf != "weight" or len(shape) - 2 not in _SHOWN:
        return False
    is_odd = all(side % 2 for side in shape[2:]) and max(shape[2:]) > 1
    return shape[0] > 1 and shape[1] == 1 and is_odd


def _says(path: str) -> bool:
    return bool(_WORDS.search(path)) or says_position(path)


def keys_of(structure: Structure, kernels: Sequence[NamedTensor]) -> tuple[str, ...]:
    """Return the file's names of kernels and of their biases."""
    tensors = structure.seen.tensors
    own = (path for k in kernels for path in (k.path, f"{k.module}.bias") if path in tensors)
    return structure.stored(own)


def convolutions_embedding(
    structure: Structure, kernels: Sequence[NamedTensor]
) -> PositionEmbedding:
    """Compute what each convolution adds to an input of ones, (patches, channels)."""
    tower = structure.seen.tower_holding(kernels[0].path) or structure.main_tower
    tokens = extra_tokens(structure.seen, kernels[0].path, tower.width if tower else 0)
    said = structure.hints.num_prefix_tokens
    grid, who = _grid(structure, kernels[0])
    why = f"what the convolutions add to an input of ones on a {written(grid)} grid, {who}"
    keys = keys_of(structure, kernels)
    return PositionEmbedding(
        family=FAMILY,
        kind="function",
        join="layer",
        tables=tuple(_layers(structure, kernels, grid)),
        norms=structure.norms(tower),
        notes=(why, *structure.norm_notes),
        keys=keys,
        num_prefix_tokens=tokens.prefix if said is None else said,
        depth=tower.depth if tower else len(kernels),
        num_parameters=sum(structure.trunk.float32(key).size for key in keys),
    )


def _grid(structure: Structure, kernel: NamedTensor) -> tuple[tuple[int, ...], str]:
    """Return the grid that is said, where it has the kernel's axes; else a usual one."""
    axes, said = len(kernel.shape) - 2, structure.hints.grid_size
    if said is not None and len(said) == axes:
        return tuple(said), structure.hints.origin("grid_size")
    return _SHOWN[axes], "for they run on any (--grid-size)"


def _layers(
    structure: Structure, kernels: Sequence[NamedTensor], grid: tuple[int, ...]
) -> Iterator[LayerPE]:
    blocks = structure.seen.in_block
    for kernel in kernels:
        block = blocks.get(kernel.path)
        names = structure.layers(structure.seen.tower_holding(kernel.path))
        place = block.path if block is not None else kernel.module
        part = kernel.module.removeprefix(place).strip(".")
        values = _response(structure, kernel, grid)
        yield LayerPE(names.get(place, place), values, checked_grid(grid), part=part)


def _response(
    structure: Structure, kernel: NamedTensor, grid: tuple[int, ...]
) -> Float32[np.ndarray, "patches channels"]:
    weights = structure.trunk.float32(kernel.key)
    beside = structure.seen.tensors.get(f"{kernel.module}.bias")
    bias = np.zeros(len(weights), np.float32)
    return response(weights, bias if beside is None else structure.trunk.float32(beside.key), grid)
