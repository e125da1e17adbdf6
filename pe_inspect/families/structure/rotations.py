"""Stored rotations of queries and keys, whatever their names and however many axes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

from pe_inspect.families.structure.names import NamedTensor
from pe_inspect.families.structure.towers import Survey
from pe_inspect.families.structure.words import says_rotation

__all__ = ["StoredRotation", "find_rotations"]

_COSINE: Final = re.compile(r"cos(?=$|[._]|_cached|_table)", re.I)


@dataclass(frozen=True)
class StoredRotation:
    """One stored rotation.

    Attributes:
        form: `"cosines"` (with their sines), or `"complex"`.
        tensors: cosines and sines; or the complex numbers.
        sides: the axes of positions.
        copies: paths of tensors of the same name elsewhere that hold the same.
    """

    form: Literal["cosines", "complex"]
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
        elif named.is_floating and (match := _COSINE.search(path)):
            sine = f"{path[: match.start()]}sin{path[match.end() :]}"
            if sine in seen.tensors and seen.tensors[sine].shape == named.shape:
                yield StoredRotation("cosines", (named, seen.tensors[sine]), sides)
