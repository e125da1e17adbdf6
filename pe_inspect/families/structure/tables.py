"""Tables of vectors that may be added to tokens, found by their shapes and places."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Final, Literal

from pe_inspect.families.structure.names import (
    NamedTensor,
    is_decoders,
    is_no_position,
    is_of_time,
    pair_axis,
    says_position,
    says_relative,
    says_rotation,
    token_sort,
)
from pe_inspect.families.structure.towers import Survey, Tower

__all__ = ["TableCandidate", "find_tables"]

_FEWEST: Final = 4
_NARROWEST: Final = 8  # channels of a table that is as wide as no tower
_TABLE_WORDS: Final = re.compile(r"emb|enc|spatial|grid|loc|coord", re.I)

Combine = Literal["none", "sum", "concatenate"]


@dataclass(frozen=True)
class TableCandidate:
    """A table that may be added to tokens.

    Attributes:
        tensors: the one tensor; two of them where rows and columns have a table each; one a block.
        dim: channels.
        axis: where the channels lie in the stored shape.
        sides: the other axes longer than 1, in order; of two tensors, the lengths of both.
        tower: what it feeds, where that is known.
        combine: how the tables of rows and columns make one.
        role: `"input"`, `"time"` (of frames alone), or `"blocks"` (one a block).
        said: whether its name says position.
    """

    tensors: tuple[NamedTensor, ...]
    dim: int
    axis: int
    sides: tuple[int, ...]
    tower: Tower | None = field(repr=False)
    combine: Combine = "none"
    role: Literal["input", "time", "blocks"] = "input"
    said: bool = True

    @property
    def rows(self) -> int:
        """Rows, where a single axis holds them; else the product of the axes."""
        return prod(self.sides)

    @property
    def path(self) -> str:
        """The path of the first tensor."""
        return self.tensors[0].path


def find_tables(seen: Survey) -> tuple[TableCandidate, ...]:
    """Return every table of vectors of a file's vision side, in the file's order."""
    named = [t for t in seen.those(_says_table) if _is_free(seen, t)]
    outside = [t for t in named if t.path not in seen.in_block]
    pairs = list(_pairs(seen, [*outside, *_axis_tables(seen, outside)]))
    paired = {t.path for pair in pairs for t in pair.tensors}
    single = [_candidate(seen, t) for t in outside if t.path not in paired]
    found = [*pairs, *(each for each in single if each is not None), *_per_block(seen, named)]
    if not any(each.role != "time" for each in found):
        found += _lone(seen)
    found = [each for each in found if _fits(seen, each)]
    order = {path: i for i, path in enumerate(seen.tensors)}
    return tuple(sorted(found, key=lambda each: order[each.path]))


def _fits(seen: Survey, table: TableCandidate) -> bool:
    """Whether the file holds what a decoder's table, or one of three axes, belongs to."""
    if len(table.sides) == 3 and seen.kernels:
        return any(len(kernel.sides) == 3 for kernel in seen.kernels)
    if not is_decoders(table.path):
        return True
    return table.tower is not None and is_decoders(table.tower.prefix)


def _says_table(named: NamedTensor) -> bool:
    return says_position(named.path) and _has_form(named)


def _may_be(seen: Survey, named: NamedTensor) -> bool:
    return _has_form(named) and _is_free(seen, named)


def _is_free(seen: Survey, named: NamedTensor) -> bool:
    """Whether a tensor belongs to no Linear and to no text."""
    return not seen.has_bias(named) and not seen.is_text(named.path)


def _has_form(named: NamedTensor) -> bool:
    """Whether a tensor may be a table by its name, its shape and its type."""
    if not named.is_floating or len(named.shape) < 2 or 0 in named.shape:
        return False
    if named.leaf == "weight" and len(named.shape) >= 4 and named.shape[0] != 1:
        return False  # a convolution
    path = named.path
    if says_relative(path) or says_rotation(path) or is_no_position(path):
        return False
    if "parametrizations" in path or "conv" in named.module.lower():
        return False
    if named.leaf == "weight" and not _is_embedding(path):
        return False
    return named.leaf != "bias"


def _is_embedding(path: str) -> bool:
    """Whether a weight without a bias is that of an Embedding, by what its module is called."""
    module = path.split(".")[-2] if "." in path else path
    return says_position(module) or "emb" in module.lower() or "enc" in module.lower()


def _axis_tables(seen: Survey, found: Iterable[NamedTensor]) -> list[NamedTensor]:
    """Tables of rows and columns whose names say no more: `row_embed.weight`."""
    have = {named.path for named in found}
    return [
        t
        for path, t in seen.tensors.items()
        if path not in have
        and path not in seen.in_block
        and _may_be(seen, t)
        and "emb" in path.lower()
        and pair_axis(path)
        and len(t.squeezed) == 2
    ]


def _pairs(seen: Survey, tables: Sequence[NamedTensor]) -> Iterator[TableCandidate]:
    """Find tables of rows and columns: one path but for the word of the axis, one width."""
    firsts: dict[str, dict[str, NamedTensor]] = {}
    for named in tables:
        if (found := pair_axis(named.path)) and len(named.squeezed) == 2:
            firsts.setdefault(found[0], {}).setdefault(found[1], named)
    for axes in firsts.values():
        if set(axes) == {"y", "x"} and (pair := _pair(seen, axes["y"], axes["x"])):
            yield pair


def _pair(seen: Survey, down: NamedTensor, across: NamedTensor) -> TableCandidate | None:
    common = set(down.squeezed) & set(across.squeezed)
    widths = _widths(seen)
    for dim in sorted(common, key=lambda n: (n in widths or 2 * n in widths, n), reverse=True):
        total = dim if dim in widths or 2 * dim not in widths else 2 * dim
        sides = tuple(_other(named.squeezed, dim) for named in (down, across))
        if dim not in (down.squeezed[-1], down.squeezed[0]) or min(sides) < 2:
            continue
        if dim < 8 and dim not in widths:
            continue
        tower = seen.tower_of(down.path, (dim, 2 * dim))
        how: Combine = "sum" if total == dim else "concatenate"
        return TableCandidate(
            (down, across), total, down.shape.index(dim), sides, tower, combine=how
        )
    return None


def _other(shape: tuple[int, ...], dim: int) -> int:
    return shape[0] if shape[1] == dim else shape[1]


def _widths(seen: Survey) -> frozenset[int]:
    towers = (tower.widths for tower in seen.towers if not seen.is_text(tower.prefix))
    kernels = frozenset(kernel.out for kernel in seen.kernels)
    return kernels.union(*towers)


def _candidate(seen: Survey, named: NamedTensor, *, said: bool = True) -> TableCandidate | None:
    axis = _channel_axis(seen, named)
    if axis is None or (said and token_sort(named.path) and named.size == named.shape[axis]):
        return None
    dim = named.shape[axis]
    sides = tuple(n for i, n in enumerate(named.shape) if i != axis and n != 1)
    if prod(sides) < (2 if is_of_time(named.path) else _FEWEST):
        return None
    tower = seen.tower_of(named.path, (dim,))
    role: Literal["input", "time"] = "input"
    if is_of_time(named.path) and len(sides) == 1 and len(named.squeezed) == 2:
        role = "time"
    return TableCandidate((named,), dim, axis, sides, tower, role=role, said=said)


def _channel_axis(seen: Survey, named: NamedTensor) -> int | None:
    """Return which axis holds the channels: one as long as a tower is wide, else the last one."""
    own = [t.widths for t in seen.towers if not seen.is_text(t.prefix)]
    near = seen.tower_of(named.path, named.shape)
    for widths in ([near.widths] if near else []) + own + [_widths(seen)]:
        fitting = [axis for axis, side in enumerate(named.shape) if side in widths and side > 1]
        last = len(named.shape) - 1
        if last in fitting:
            return last
        first = next((axis for axis, side in enumerate(named.shape) if side > 1), last)
        if first in fitting:
            return first
        if fitting:
            return fitting[-1]
    return _by_shape_alone(named)


def _by_shape_alone(named: NamedTensor) -> int | None:
    if len(named.squeezed) < 2 or named.shape[-1] < _NARROWEST:
        return None
    if len(named.shape) == 4 and named.shape[0] == 1 and named.shape[1] > named.shape[3]:
        return 1
    return len(named.shape) - 1


def _per_block(seen: Survey, named: Iterable[NamedTensor]) -> Iterator[TableCandidate]:
    """Find tables of which every block has one, under one name inside it."""
    groups: dict[str, list[NamedTensor]] = {}
    for tensor in named:
        block = seen.in_block.get(tensor.path)
        if block is not None and len(tensor.squeezed) == 2 and tensor.shape[-1] == block.width:
            groups.setdefault(tensor.path.removeprefix(block.path), []).append(tensor)
    for tensors in groups.values():
        first = tensors[0]
        alike = tuple(t for t in tensors if t.shape == first.shape)
        tower = seen.tower_of(first.path, (first.shape[-1],))
        if first.squeezed[0] >= _FEWEST:
            sides, last = (first.squeezed[0],), len(first.shape) - 1
            yield TableCandidate(alike, first.shape[-1], last, sides, tower, role="blocks")


def _lone(seen: Survey) -> list[TableCandidate]:
    """Return the only tensor that may be a table though its name does not say so."""
    candidates = []
    for path, named in seen.tensors.items():
        if path in seen.in_block or not _may_be(seen, named) or token_sort(path):
            continue
        if not _TABLE_WORDS.search(path):
            continue
        if len(named.squeezed) < 2 or named.leaf in ("in_proj_weight", "proj"):
            continue
        tower = seen.tower_of(path, (named.shape[-1],))
        if tower is None or not tower.attends or not seen.kernels:
            continue
        if (found := _candidate(seen, named, said=False)) and found.dim == named.shape[-1]:
            candidates.append(found)
    return candidates if len(candidates) == 1 else []
