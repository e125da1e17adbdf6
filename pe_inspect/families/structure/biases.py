"""Tables that act inside attention: biases by offset, by distance or by pair, vectors an axis.

What a table is follows from its shape and from the integer index beside it; where the index lies
(beside the table, in the block, once at the root) does not matter.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from math import isqrt, prod
from typing import Final, Literal

from pe_inspect.families.structure.blocks import FoundBlock
from pe_inspect.families.structure.names import (
    NamedTensor,
    common_depth,
    is_no_position,
    pair_axis,
    says_position,
    says_relative,
    says_rotation,
    wildcard,
)
from pe_inspect.families.structure.towers import Survey

__all__ = ["BiasGroup", "BiasTensor", "Form", "find_biases", "windows_of"]

Form = Literal["offsets", "distances", "pairs", "axes"]
Window = tuple[int, ...]

_TABLE_WORDS: Final = re.compile(r"bias|table|emb|rpb|rpe|weight|pos$", re.I)
_MOST_HEADS: Final = 128
_CLS_ROWS: Final = 3


@dataclass(frozen=True)
class BiasTensor:
    """One stored table of a bias.

    Attributes:
        named: the tensor.
        place: the block or stage that holds it, by the file's path.
        inner: its path inside the block, numbers as wildcards.
        form: what its rows are.
        heads: how many heads it has; 1 where it has no head axis.
        rows: entries a head; (2h−1)·(2w−1) of offsets.
        head_axis: where the heads lie; `None` where it has no head axis.
        sides: lengths of the axes of offsets, where the shape keeps them apart.
        index: the integer index that belongs to it.
    """

    named: NamedTensor
    place: str
    inner: str
    form: Form
    heads: int
    rows: int
    head_axis: int | None
    sides: tuple[int, ...] = ()
    index: NamedTensor | None = field(default=None, repr=False)

    @cached_property
    def tokens(self) -> int | None:
        """How many tokens the index is for; `None` without a square index."""
        if self.index is None:
            return None
        shape = self.index.squeezed
        if len(shape) == 2:
            return shape[0] if shape[0] == shape[1] else None
        if len(shape) == 4 and shape[:2] == shape[2:]:
            return shape[0] * shape[1]
        return isqrt(shape[0]) if len(shape) == 1 and isqrt(shape[0]) ** 2 == shape[0] else None


@dataclass(frozen=True)
class BiasGroup:
    """Tables of one name inside the blocks and one form, in the file's order."""

    form: Form
    tensors: tuple[BiasTensor, ...]


def find_biases(seen: Survey) -> tuple[BiasGroup, ...]:
    """Return every group of bias tables on the vision side of a file."""
    indices = [t for t in seen.tensors.values() if _is_index(t)]
    groups: dict[tuple[str, Form, int], list[BiasTensor]] = defaultdict(list)
    for named in seen.tensors.values():
        found = _bias(seen, named, indices)
        if found is not None:
            inner = _without_axis(found) if found.form == "axes" else found.inner
            groups[inner, found.form, _split(found)].append(found)
    return tuple(BiasGroup(form, tuple(own)) for (_, form, _), own in groups.items())


def _split(found: BiasTensor) -> int:
    """Tables of offsets of another length are of another window, and an embedding of their own."""
    return found.rows if found.form == "offsets" else 0


def _without_axis(found: BiasTensor) -> str:
    """Return the name of both tables of a pair."""
    pair = pair_axis(found.inner)
    return pair[0] if pair else found.inner


def _is_index(named: NamedTensor) -> bool:
    return named.is_index and named.size > 1 and len(named.squeezed) in (1, 2, 4)


def _bias(seen: Survey, named: NamedTensor, indices: list[NamedTensor]) -> BiasTensor | None:
    if not _may_be(seen, named):
        return None
    block = seen.in_block.get(named.path)
    index = _index_of(named, block, indices)
    says = says_relative(named.path)
    is_shown = index is not None and named.leaf != "weight"
    if not (says or is_shown or (block and says_position(named.path))):
        return None
    shaped = _shaped(named, index, block, says=says)
    if shaped is None:
        return None
    form, heads, rows, head_axis, sides = shaped
    place, inner = _placed(named, block)
    return BiasTensor(named, place, inner, form, heads, rows, head_axis, sides, index)


def _may_be(seen: Survey, named: NamedTensor) -> bool:
    if not named.is_floating or len(named.squeezed) < 1 or len(named.shape) < 2:
        return False
    path = named.path
    if named.path not in seen.in_block and named.shape[-1] in (2, 3) and len(named.shape) == 2:
        return False  # coordinates that a network is given
    if seen.has_bias(named) or named.leaf == "bias" or "mask" in path or seen.is_text(path):
        return False
    if says_rotation(path) or is_no_position(path):
        return False
    return not ("coords" in named.leaf or named.leaf in ("logit_scale", "running_mean"))


def _placed(named: NamedTensor, block: FoundBlock | None) -> tuple[str, str]:
    """Return where a tensor lies and its name there; outside blocks, up to its last number."""
    if block is not None:
        return block.path, wildcard(named.path.removeprefix(block.path).lstrip("."))
    parts = named.path.split(".")
    last = max((i for i, part in enumerate(parts[:-1]) if part[-1:].isdigit()), default=-1)
    return ".".join(parts[: last + 1]), wildcard(".".join(parts[last + 1 :]))


def _index_of(
    named: NamedTensor, block: FoundBlock | None, indices: list[NamedTensor]
) -> NamedTensor | None:
    """Return the index nearest to a table: in its module, else in its block, else at the root."""
    module = [i for i in indices if i.module == named.module]
    if not module and named.leaf == "weight":  # an Embedding: the index lies beside its module
        module = [i for i in indices if i.module == named.module.rpartition(".")[0]]
    for near in (module, _in_block(named, block, indices)):
        if near:
            return max(near, key=lambda i: _alike(i.leaf, named.path))
    return None


def _in_block(
    named: NamedTensor, block: FoundBlock | None, indices: list[NamedTensor]
) -> list[NamedTensor]:
    if block is not None and (own := [i for i in indices if i.path.startswith(block.path + ".")]):
        return [i for i in own if common_depth(i.path, named.path) > block.path.count(".") + 1]
    return []


def _alike(one: str, other: str) -> int:
    """How many parts of one name the other has."""
    return sum(part in other for part in one.split("_") if len(part) > 1)


Shaped = tuple[Form, int, int, int | None, tuple[int, ...]]


def _shaped(
    named: NamedTensor, index: NamedTensor | None, block: FoundBlock | None, *, says: bool
) -> Shaped | None:
    shape = named.shape
    while len(shape) > 2 and shape[0] == 1:
        shape = shape[1:]
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    if len(shape) == 2:
        return _of_two(named, shape, index, block, says=says)
    if len(shape) == 3:
        return _of_three(shape)
    return None


def _of_two(
    named: NamedTensor,
    shape: tuple[int, ...],
    index: NamedTensor | None,
    block: FoundBlock | None,
    *,
    says: bool,
) -> Shaped | None:
    first, last = shape
    square = first == last and index is None
    if _is_axis(named, first):
        return "axes", 1, first, None, ()
    if square and not _TABLE_WORDS.search(named.leaf):
        return None
    if square and not first % 2:
        return ("pairs", 1, first, None, ()) if _is_window(first) else None
    if first == last and first % 2 and first > 1 and "table" not in named.leaf:
        return "offsets", 1, first * last, None, (first, last)
    if index is None and not says:
        return None
    width = block.width if block else 0
    rows, heads, axis = (first, last, 1) if first >= last else (last, first, 0)
    if heads > _MOST_HEADS or (width and heads > width):
        return None
    if index is not None and _is_distances(index, rows):
        return "distances", heads, rows, axis, ()
    if axis == 0 and _is_window(rows) and rows % 2 == 0:
        return "distances", heads, rows, axis, ()
    if axis == 0 and index is None:
        return "distances", heads, rows, axis, ()
    return ("offsets", heads, rows, axis, ()) if rows >= 5 else None


def _is_axis(named: NamedTensor, rows: int) -> bool:
    """Whether a table is of the offsets along one axis."""
    leaf = named.leaf.lower()
    return rows % 2 == 1 and any(
        leaf.endswith(end) for end in ("_h", "_w", "_height", "_width", "height_rel", "width_rel")
    )


def _of_three(shape: tuple[int, ...]) -> Shaped | None:
    first, second, third = shape
    if second == third and _is_window(second) and not (second % 2 and _is_offsets(second)):
        return "pairs", first, second, 0, ()
    if second % 2 and third % 2 and first <= _MOST_HEADS:
        return "offsets", first, second * third, 0, (second, third)
    if first % 2 and second % 2 and third <= _MOST_HEADS:
        return "offsets", third, first * second, 2, (first, second)
    if second == third:
        return "pairs", first, second, 0, ()
    return None


def _is_offsets(side: int) -> bool:
    return side < 64 and not _is_window(side)


def _is_window(tokens: int) -> bool:
    side = isqrt(tokens)
    return side > 1 and side * side == tokens


def _is_distances(index: NamedTensor, rows: int) -> bool:
    """Whether a table has as many rows as its index has tokens: one a distance."""
    shape = index.squeezed
    return len(shape) == 2 and rows == shape[-1]


def windows_of(rows: int, tokens: int | None = None, *, axes: int = 2) -> Iterator[Window]:
    """Yield every window whose table of offsets has so many rows, the squarest first.

    Args:
        rows: of the table, three more of them allowed where the tokens have one beside the window.
        tokens: of the window, where an index tells them.
        axes: 2, or 3 for windows of three sides.
    """
    for extra in (0, _CLS_ROWS):
        for sides in sorted(_products(rows - extra, axes), key=lambda s: (max(s) - min(s), s)):
            window = tuple((side + 1) // 2 for side in sides)
            own = (None, prod(window) + (extra > 0), prod(window))
            if all(side % 2 for side in sides) and tokens in own:
                yield window


def _products(number: int, axes: int) -> Iterator[Window]:
    if axes == 1:
        yield (number,)
        return
    for side in range(1, number + 1):
        if number > 0 and number % side == 0:
            yield from ((side, *rest) for rest in _products(number // side, axes - 1))
