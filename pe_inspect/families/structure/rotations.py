"""Stored rotations of queries and keys, whatever their names and however many axes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import isqrt, prod
from typing import Final, Literal

import numpy as np

from pe_inspect.arrays import Float32
from pe_inspect.errors import AmbiguousCheckpoint
from pe_inspect.families.reading.arch import unwrapped
from pe_inspect.families.reading.rotation import PAIRINGS, Pairing, first_of_pairs, pairing_of
from pe_inspect.families.structure.grids import written
from pe_inspect.families.structure.names import NamedTensor, says_rotation
from pe_inspect.families.structure.structure import Structure
from pe_inspect.families.structure.towers import Survey, extra_tokens
from pe_inspect.kinds.held_values import frozen_array
from pe_inspect.kinds.parts import checked_grid
from pe_inspect.kinds.position_embedding import LayerPE, PositionEmbedding

__all__ = ["StoredRotation", "find_rotations", "grids_of", "rotation_embedding"]

_PARTS: Final = 2  # real and imaginary
_COSINE: Final = re.compile(r"cos(?=$|[._]|_cached|_table)", re.I)


@dataclass(frozen=True)
class StoredRotation:
    """One stored rotation.

    Attributes:
        form: `"cosines"` (with their sines), `"complex"`, or its real and imaginary `"parts"`.
        tensors: cosines and sines; or the complex numbers.
        sides: the axes of positions.
        copies: paths of tensors of the same name elsewhere that hold the same.
    """

    form: Literal["cosines", "complex", "parts"]
    tensors: tuple[NamedTensor, ...]
    sides: tuple[int, ...]
    copies: tuple[str, ...] = ()


def find_rotations(seen: Survey) -> tuple[StoredRotation, ...]:
    """Return the stored rotations of the vision side: those outside the blocks, or the blocks'."""
    found = list(_all(seen))
    outside = [each for each in found if each.tensors[0].path not in seen.in_block]
    if outside or not found:
        return tuple(outside)
    copies = tuple(t.path for each in found[1:] for t in each.tensors)
    first = found[0]
    return (StoredRotation(first.form, first.tensors, first.sides, copies),)


def _all(seen: Survey) -> Iterator[StoredRotation]:
    for path, named in seen.tensors.items():
        if not says_rotation(path) or seen.is_text(path) or len(named.squeezed) < 2:
            continue
        sides = named.squeezed[:-1]
        if named.dtype.startswith("complex"):
            yield StoredRotation("complex", (named,), sides)
        elif named.is_floating and _has_parts(named):
            yield StoredRotation("parts", (named,), sides[:-1])
        elif named.is_floating and (match := _COSINE.search(path)):
            sine = f"{path[: match.start()]}sin{path[match.end() :]}"
            if sine in seen.tensors and seen.tensors[sine].shape == named.shape:
                yield StoredRotation("cosines", (named, seen.tensors[sine]), sides)


def _has_parts(named: NamedTensor) -> bool:
    """Whether a tensor holds complex numbers as pairs of real ones, by its name and last axis."""
    return "cis" in named.path and named.shape[-1] == _PARTS and len(named.squeezed) > _PARTS


FAMILY: Final = "rotary"

Grid = tuple[int, ...]


def rotation_embedding(
    structure: Structure, found: StoredRotation, known: tuple[Grid, ...]
) -> PositionEmbedding:
    """Read a stored rotation.

    Args:
        structure: of the file.
        found: where it lies.
        known: grids of other embeddings of the file.

    Raises:
        AmbiguousCheckpoint: nothing tells its grid.
    """
    grid, why = _grid(structure, found, known)
    angles, pairing = _angles(structure, found, grid)
    tower = structure.main_tower
    said = structure.hints.num_prefix_tokens
    tokens = extra_tokens(structure.seen, found.tensors[0].path, tower.width if tower else 0)
    held = frozen_array(angles[None])
    layers = list(structure.layers(tower).values()) or ["blocks.0"]
    return PositionEmbedding(
        family=FAMILY,
        kind="phases",
        join="layer",
        tables=tuple(LayerPE(layer, held, checked_grid(grid)) for layer in layers),
        norms=structure.norms(tower),
        notes=(why, PAIRINGS[pairing], *structure.norm_notes),
        keys=structure.stored([*(t.path for t in found.tensors), *found.copies]),
        num_prefix_tokens=tokens.prefix if said is None else said,
        depth=tower.depth if tower else len(layers),
        num_parameters=0,
    )


def _grid(structure: Structure, found: StoredRotation, known: tuple[Grid, ...]) -> tuple[Grid, str]:
    if len(found.sides) in (2, 3):
        return found.sides, f"grid {written(found.sides)} shown by the shape of the rotations"
    patches, hints = found.sides[0], structure.hints
    stated = [("--grid-size", tuple(hints.grid_size))] if hints.grid_size else []
    for who, grid in [*stated, *(("the position table", grid) for grid in known)]:
        if prod(grid) == patches:
            return grid, f"grid {written(grid)} as that of {who}"
    side = isqrt(patches)
    if side * side == patches:
        return (side, side), f"grid {written((side, side))} inferred from {patches} rotations"
    name = structure.stored([found.tensors[0].path])[0]
    pairs = [(a, patches // a) for a in range(2, patches // 2 + 1) if patches % a == 0]
    listed = "; ".join(f"{written(p)} (--grid-size {p[0]}x{p[1]})" for p in pairs)
    raise AmbiguousCheckpoint(
        f"{name} has {patches} rows, one a patch, and nothing in the file tells rows from columns. "
        f"Each of these fits: {listed or 'none'}."
    )


def _angles(
    structure: Structure, found: StoredRotation, grid: Grid
) -> tuple[Float32[np.ndarray, "patches pairs"], Pairing]:
    patches = prod(found.sides)
    if found.form == "complex":
        values = structure.trunk.tensor(found.tensors[0].key).reshape(patches, -1)
        return _unwrapped(np.angle(values), grid), "interleaved"
    if found.form == "parts":
        real, imaginary = np.moveaxis(structure.trunk.float32(found.tensors[0].key), -1, 0)
        turned = np.arctan2(imaginary, real).reshape(patches, -1)
        return _unwrapped(turned, grid), "interleaved"
    cosines, sines = (
        np.asarray(structure.trunk.tensor(t.key), np.float64).reshape(patches, -1)
        for t in found.tensors
    )
    pairing = pairing_of(cosines)
    turned = np.arctan2(sines, cosines)
    if pairing is None:  # one a pair of channels, not one a channel
        return _unwrapped(turned, grid), "interleaved"
    return _unwrapped(first_of_pairs(turned, pairing), grid), pairing


def _unwrapped(angles: np.ndarray, grid: Grid) -> Float32[np.ndarray, "patches pairs"]:
    if len(grid) == 2:
        return np.asarray(unwrapped(angles, grid), np.float32)
    return np.asarray(angles, np.float32)


def grids_of(embeddings: Iterable[PositionEmbedding]) -> Iterator[Grid]:
    """Yield the grids of embeddings that have one."""
    for pe in embeddings:
        if pe.scheme_kind.has_token_rows and pe.grid_size is not None:
            yield pe.grid_size
