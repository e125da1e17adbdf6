"""Tables of vectors that may be added to tokens, found by their shapes and places."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
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
    wildcard,
)
from pe_inspect.families.structure.towers import Survey, Tower

__all__ = ["TableCandidate", "find_tables"]

_FEWEST: Final = 4
_FEWEST_LONE: Final = 9  # of a table that no name speaks for; levels and kinds of tokens have fewer
_ENTRY: Final = 2  # letters of the name of one of several alike modules
_PLACES: Final = 3  # axes of a table that keeps the place of its own axis
_OF_MATRICES: Final = ("in_proj_weight", "proj", "kernel")
_NARROWEST: Final = 8  # channels of a table that is as wide as no tower
_TABLE_WORDS: Final = re.compile(r"emb|enc|spatial|grid|loc|coord", re.I)
_PLACE_WORDS: Final = re.compile(r"spatial|grid|locat|coord", re.I)

Combine = Literal["none", "sum", "concatenate", "append"]
Role = Literal["input", "time", "blocks"]


@dataclass(frozen=True)
class TableCandidate:
    """A table that may be added to tokens.

    Attributes:
        tensors: the one tensor; one an axis where rows and columns have a table each; one a block.
        dim: channels.
        axis: where the channels lie in the stored shape.
        sides: the other axes longer than 1, in order; of several tensors, the length of each.
        tower: what it feeds, where that is known.
        combine: how the tables of the axes make one: added, or their channels side by side, those
            of the last axis first (`"concatenate"`, as in DETR) or last (`"append"`).
        role: `"input"`, `"time"` (of frames alone), or `"blocks"` (one a block).
        said: whether its name says position.
        hinted: whether its name says at least that it is a table.
    """

    tensors: tuple[NamedTensor, ...]
    dim: int
    axis: int
    sides: tuple[int, ...]
    tower: Tower | None = field(repr=False)
    combine: Combine = "none"
    role: Role = "input"
    said: bool = True
    hinted: bool = True

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
    found = [*_by_words(seen, outside)]
    found += _by_numbers(seen, _left(outside, found))
    found += _by_places(seen, _left(outside, found))
    found += _lists(seen, _left(outside, found))
    single = (_candidate(seen, t) for t in _left(outside, found))
    found += [each for each in single if each is not None]
    found += _per_block(seen, named)
    found += _scalars(seen)
    if not any(each.role != "time" for each in found):
        found += _lone(seen)
    found = [each for each in found if _fits(seen, each)]
    order = {path: i for i, path in enumerate(seen.tensors)}
    return tuple(sorted(found, key=lambda each: order[each.path]))


def _speaks(path: str) -> bool:
    """Whether a name says position, or a table of times."""
    return says_position(path) or (is_of_time(path) and bool(_TABLE_WORDS.search(path)))


def _left(tensors: Iterable[NamedTensor], found: Iterable[TableCandidate]) -> list[NamedTensor]:
    """Return the tensors that no candidate has taken."""
    taken = {t.path for each in found for t in each.tensors}
    return [t for t in tensors if t.path not in taken]


def _fits(seen: Survey, table: TableCandidate) -> bool:
    """Whether the file holds what a decoder's table, or one of three axes, belongs to."""
    axes = {len(kernel.sides) for kernel in seen.kernels if kernel.sides}
    if len(table.sides) == 3 and axes:
        return 3 in axes
    if not is_decoders(table.path):
        return True
    towers = seen.towers if table.tower is None else (table.tower,)
    return any(is_decoders(tower.prefix) for tower in towers)


def _says_table(named: NamedTensor) -> bool:
    return _speaks(named.path) and _has_form(named)


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
    modules = path.split(".")[:-1] or [path]
    if len(modules[-1]) <= _ENTRY and len(modules) > 1:  # an entry of a list or of a dictionary
        modules.pop()
    return any(word in modules[-1].lower() for word in ("emb", "enc")) or says_position(modules[-1])


def _by_places(seen: Survey, tables: Iterable[NamedTensor]) -> Iterator[TableCandidate]:
    """Find a table an axis by where that axis lies: (1, H, 1, D) and (1, 1, W, D), to be added."""
    groups: dict[tuple[str, int], dict[int, NamedTensor]] = {}
    for named in tables:
        axis = _channel_axis(seen, named)
        long = [i for i, side in enumerate(named.shape) if side > 1 and i != axis]
        if axis is None or len(long) != 1 or len(named.shape) < _PLACES:
            continue
        pair = pair_axis(named.path)
        group = wildcard(pair[0] if pair else named.path), named.shape[axis]
        groups.setdefault(group, {}).setdefault(long[0], named)
    for (_, dim), places in groups.items():
        if len(places) in (2, 3):
            ordered = tuple(places[i] for i in sorted(places))
            sides = tuple(places[i].shape[i] for i in sorted(places))
            tower = seen.tower_of(ordered[0].path, (dim,))
            axis = _channel_axis(seen, ordered[0]) or 0
            yield TableCandidate(ordered, dim, axis, sides, tower, combine="sum")


def _by_words(seen: Survey, found: Sequence[NamedTensor]) -> Iterator[TableCandidate]:
    """Find tables of rows, columns (and frames): one path but for the axis's word, one width."""
    firsts: dict[str, dict[str, NamedTensor]] = {}
    for named in [*found, *_axis_tables(seen, found)]:
        if (pair := pair_axis(named.path)) and len(named.squeezed) == 2:
            firsts.setdefault(pair[0], {}).setdefault(pair[1], named)
    for axes in firsts.values():
        if set(axes) in ({"y", "x"}, {"t", "y", "x"}):
            own = [axes[axis] for axis in "tyx" if axis in axes]
            if whole := _of_axes(seen, own):
                yield whole


def _by_numbers(seen: Survey, tables: Iterable[NamedTensor]) -> Iterator[TableCandidate]:
    """Find tables of two or three numbered axes, each with its share of the width."""
    groups: dict[str, list[NamedTensor]] = {}
    for named in tables:
        if len(named.squeezed) == len(("positions", "channels")):
            groups.setdefault(wildcard(named.path), []).append(named)
    for own in groups.values():
        axes = _of_axes(seen, own) if len(own) in (2, 3) else None
        if axes is not None and axes.combine == "concatenate":
            yield replace(axes, combine="append")


def _axis_tables(seen: Survey, found: Iterable[NamedTensor]) -> list[NamedTensor]:
    """Tables of rows and columns whose names say no more: `row_embed.weight`."""
    have = {named.path for named in found}
    return [
        t
        for t in seen.those(_says_axis)
        if t.path not in have and t.path not in seen.in_block and _is_free(seen, t)
    ]


def _says_axis(named: NamedTensor) -> bool:
    says = "emb" in named.path.lower() and pair_axis(named.path) is not None
    return says and len(named.squeezed) == 2 and _has_form(named)


def _lists(seen: Survey, tables: Iterable[NamedTensor]) -> Iterator[TableCandidate]:
    """Find a list beside the blocks with a table for each of them."""
    groups: dict[tuple[str, tuple[int, ...]], list[NamedTensor]] = {}
    for named in tables:
        groups.setdefault((wildcard(named.path), named.shape), []).append(named)
    for own in groups.values():
        first = _candidate(seen, own[0]) if len(own) > 1 else None
        if first is not None and first.tower is not None and first.tower.depth == len(own):
            yield replace(first, tensors=tuple(own), role="blocks")


def _of_axes(seen: Survey, own: Sequence[NamedTensor]) -> TableCandidate | None:
    """Join the tables of the axes, in order: added, or parts of the width side by side."""
    first, widths, parts = own[0], _widths(seen), len(own)
    common = set.intersection(*(set(named.squeezed) for named in own))
    for dim in sorted(common, key=lambda n: (n in widths or parts * n in widths, n), reverse=True):
        is_part = dim not in widths and parts * dim in widths
        sides = tuple(_other(named.squeezed, dim) for named in own)
        if min(sides) < 2 or (dim < _NARROWEST and dim not in widths):
            continue
        tower, axis = seen.tower_of(first.path, (dim, parts * dim)), first.shape.index(dim)
        how: Combine = "concatenate" if is_part else "sum"
        total = parts * dim if is_part else dim
        return TableCandidate(tuple(own), total, axis, sides, tower, combine=how)
    return None


def _other(shape: tuple[int, ...], dim: int) -> int:
    return shape[0] if shape[1] == dim else shape[1]


def _widths(seen: Survey) -> frozenset[int]:
    towers = (tower.widths for tower in seen.towers if not seen.is_text(tower.prefix))
    kernels = frozenset(kernel.out for kernel in seen.kernels)
    return kernels.union(*towers)


def _candidate(
    seen: Survey, named: NamedTensor, *, said: bool = True, hinted: bool = True
) -> TableCandidate | None:
    if (by_head := _by_head(seen, named)) is not None:
        return by_head
    axis = _channel_axis(seen, named)
    if axis is None or (said and token_sort(named.path) and named.size == named.shape[axis]):
        return None
    dim = named.shape[axis]
    sides = tuple(n for i, n in enumerate(named.shape) if i != axis and n != 1)
    if prod(sides) < (2 if is_of_time(named.path) else _FEWEST):
        return None
    tower = seen.tower_of(named.path, (dim,))
    is_time = is_of_time(named.path) and len(sides) == 1 and len(named.squeezed) == 2
    if is_time and not says_position(named.path) and tower is None:
        return None
    role: Role = "time" if is_time else "input"
    return TableCandidate((named,), dim, axis, sides, tower, "none", role, said, hinted)


def _by_head(seen: Survey, named: NamedTensor) -> TableCandidate | None:
    """Return a table (heads, positions, head_dim), of whose channels every head has its share."""
    widths = _widths(seen)
    if len(named.squeezed) != _PLACES or widths & set(named.shape):
        return None
    heads, positions, head_dim = named.squeezed
    dim, axis = heads * head_dim, len(named.shape) - _PLACES
    if dim not in widths or positions < _FEWEST or named.shape[axis] != heads:
        return None
    tower = seen.tower_of(named.path, (dim,))
    return TableCandidate((named,), dim, axis, (positions,), tower)


def _channel_axis(seen: Survey, named: NamedTensor) -> int | None:
    """Return which axis holds the channels: one as long as a tower is wide, else the last one."""
    last = len(named.shape) - 1
    if len(named.squeezed) == 2 and named.shape[-1] in _widths(seen):
        return last
    own = [t.widths for t in seen.towers if not seen.is_text(t.prefix)]
    near = seen.tower_of(named.path, named.shape)
    for widths in ([near.widths] if near else []) + own + [_widths(seen)]:
        fitting = [axis for axis, side in enumerate(named.shape) if side in widths and side > 1]
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
    """Find tables of which every block has one, under one name inside it and of one shape."""
    groups: dict[tuple[str, tuple[int, ...]], list[NamedTensor]] = {}
    for tensor in named:
        block = seen.in_block.get(tensor.path)
        if block is not None and len(tensor.squeezed) == 2 and tensor.shape[-1] == block.width:
            inner = wildcard(tensor.path.removeprefix(block.path))
            groups.setdefault((inner, tensor.shape), []).append(tensor)
    for (_, shape), tensors in groups.items():
        rows = prod(shape) // shape[-1]
        if rows >= _FEWEST:
            tower = seen.tower_holding(tensors[0].path)
            last = len(shape) - 1
            yield TableCandidate(tuple(tensors), shape[-1], last, (rows,), tower, role="blocks")


def _scalars(seen: Survey) -> Iterator[TableCandidate]:
    """Find tables of one number a place, which is added to every channel."""
    for named in seen.those(lambda each: len(each.shape) == 1 and says_position(each.leaf)):
        path = named.path
        if named.size < _FEWEST_LONE:
            continue
        is_other = says_relative(path) or is_no_position(path)
        if named.is_floating and not is_other and named.size not in _widths(seen):
            tower = seen.tower_holding(path) or seen.tower_of(path, _widths(seen))
            yield TableCandidate((named,), 1, 0, (named.size,), tower)


def _lone(seen: Survey) -> list[TableCandidate]:
    """Return the only tensor, or the only one a stage, that may be a table without saying so."""
    groups: dict[str, list[TableCandidate]] = {}
    for named in seen.those(_may_be_lone):
        path = named.path
        if path in seen.in_block or not _is_free(seen, named):
            continue
        hinted = bool(_TABLE_WORDS.search(path)) and named.leaf != "weight"
        hinted = hinted or bool(_PLACE_WORDS.search(path))
        found = _candidate(seen, named, said=False, hinted=hinted)
        if found and found.rows >= _FEWEST_LONE and _feeds_attention(seen, found):
            groups.setdefault(wildcard(path), []).append(found)
    hinted_ones = {form: own for form, own in groups.items() if own[0].hinted}
    chosen = groups if len(groups) == 1 else hinted_ones
    return next(iter(chosen.values())) if len(chosen) == 1 else []


def _may_be_lone(named: NamedTensor) -> bool:
    is_other = len(named.squeezed) < 2 or named.leaf in _OF_MATRICES
    return not is_other and token_sort(named.path) is None and _has_form(named)


def _feeds_attention(seen: Survey, table: TableCandidate) -> bool:
    return table.tower is not None and table.tower.attends and bool(seen.kernels)
