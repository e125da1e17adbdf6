"""Tables that act inside attention: biases by offset, by distance or by pair, vectors an axis.

What a table is follows from its shape and from the integer index beside it; where the index lies
(beside the table, in the block, once at the root) does not matter.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import isqrt
from typing import Final

from pe_inspect.families.structure.bias_shapes import (
    Form,
    Shaped,
    boxes,
    is_distances,
    shape_of,
    windows_of,
)
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
from pe_inspect.families.structure.networks import OffsetNet
from pe_inspect.families.structure.towers import Survey

__all__ = ["BiasGroup", "BiasTensor", "find_biases"]

_ROWS_AND_HEADS: Final = 2
_ROOT: Final = "(outside the blocks)"


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
        head_axis: where the heads lie; `None` where it has no head axis; of vectors an axis, where
            the rows lie.
        sides: lengths of the axes of offsets, where the shape keeps them apart.
        index: the integer index that belongs to it.
        at: which part of a tensor it is that holds a table for every block.
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
    at: int | None = None

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
    """Tables of one name inside the blocks and one form, in the file's order.

    Attributes:
        form: what their rows are.
        tensors: the tables.
        is_deep: whether others of that name are of windows with three sides.
    """

    form: Form
    tensors: tuple[BiasTensor, ...]
    is_deep: bool = False


def find_biases(
    seen: Survey,
    nets: Sequence[OffsetNet] = (),
    may_be_tokens: Callable[[int], bool] = lambda _: False,
) -> tuple[BiasGroup, ...]:
    """Return every group of bias tables on the vision side of a file.

    Args:
        seen: the file.
        nets: networks that compute a bias; their parameters and coordinates are no tables.
        may_be_tokens: whether the rest of the file speaks of so many tokens.
    """
    taken = {t.path for net in nets for t in (*net.tensors, net.coordinates) if t is not None}
    indices = _indices(seen)
    groups: dict[tuple[str, Form, int], list[BiasTensor]] = defaultdict(list)
    for named in seen.those(lambda each: _has_form(each) and (bool(indices) or _says(each))):
        if named.path in taken or (nets and _are_coordinates(seen, named)):
            continue
        whole = _stack(seen, named) or (named,)
        for at, part in enumerate(whole):
            found = _bias(seen, part, indices, may_be_tokens)
            if found is None:
                continue
            if len(whole) > 1:
                found = replace(found, at=at)
            inner = _without_axis(found) if found.form == "axes" else found.inner
            groups[inner, found.form, _split(found)].append(found)
    deep = {inner for (inner, _, _), own in groups.items() if _is_deep(own[0])}
    return tuple(
        BiasGroup(form, tuple(own), inner in deep) for (inner, form, _), own in groups.items()
    )


def _stack(seen: Survey, named: NamedTensor) -> tuple[NamedTensor, ...]:
    """Return the parts of a tensor outside the blocks that holds (rows, heads) for each of them."""
    if len(named.shape) != 3 or named.path in seen.in_block:
        return ()
    blocks, rows, heads = named.shape
    depths = {tower.depth for tower in seen.towers if tower.attends}
    if blocks not in depths or heads >= rows or rows == blocks or not any(windows_of(rows)):
        return ()
    return tuple(replace(named, shape=(rows, heads)) for _ in range(blocks))


def _is_deep(tensor: BiasTensor) -> bool:
    """Whether the index of a table is for a window of three sides and for no flat one."""
    if tensor.form != "offsets" or tensor.tokens is None or tensor.sides:
        return False
    rows, tokens = tensor.rows, tensor.tokens
    is_flat = any(windows_of(rows, tokens))
    return not is_flat and any(windows_of(rows, tokens, axes=3))


def _split(found: BiasTensor) -> int:
    """Tables of offsets of another length are of another window, and an embedding of their own."""
    return found.rows if found.form == "offsets" else 0


def _without_axis(found: BiasTensor) -> str:
    """Return the name of both tables of a pair."""
    pair = pair_axis(found.inner)
    return pair[0] if pair else found.inner


Indices = Mapping[str, Sequence[NamedTensor]]


def _indices(seen: Survey) -> Indices:
    """Return the stored indices by what they lie in: their module, their block, or the root."""
    found: dict[str, list[NamedTensor]] = defaultdict(list)
    for named in seen.those(_is_index):
        block = seen.in_block.get(named.path)
        for place in {named.module, block.path if block else _ROOT}:
            found[place].append(named)
    return found


def _is_index(named: NamedTensor) -> bool:
    return named.is_index and named.size > 1 and len(named.squeezed) in (1, 2, 4)


def _bias(
    seen: Survey, named: NamedTensor, indices: Indices, may_be_tokens: Callable[[int], bool]
) -> BiasTensor | None:
    if not _may_be(seen, named):
        return None
    block = seen.in_block.get(named.path)
    index = _index_of(named, block, indices)
    says = says_relative(named.path)
    is_shown = index is not None and (named.leaf != "weight" or _serves(index, max(named.squeezed)))
    if not (says or is_shown or (block and says_position(named.path))):
        return None
    if (axis := _axis_form(seen, named)) is not None:
        place, inner = _placed(named, block)
        behind = axis and named.squeezed[0] != axis  # channels first
        return BiasTensor(named, place, inner, "axes", 1, axis, int(behind)) if axis else None
    shaped = shape_of(named, index, block, says=says)
    if shaped is not None and index is None and _are_pairs(seen, named, shaped, may_be_tokens):
        shaped = ("pairs", shaped[1], shaped[4][0], shaped[3], ())
    if shaped is None:
        return None
    form, heads, rows, head_axis, sides = shaped
    place, inner = _placed(named, block)
    return BiasTensor(named, place, inner, form, heads, rows, head_axis, sides, index)


def _are_pairs(
    seen: Survey, named: NamedTensor, shaped: Shaped, may_be_tokens: Callable[[int], bool]
) -> bool:
    """Whether a square table a head is of pairs of tokens, and no name says offsets.

    So many tokens are those of another table, or of a box where the file is of volumes.
    """
    form, _, _, _, sides = shaped
    if form != "offsets" or len(set(sides)) != 1 or "table" in named.leaf:
        return False
    return may_be_tokens(sides[0]) or (seen.is_deep and any(boxes(sides[0])))


def _are_coordinates(seen: Survey, named: NamedTensor) -> bool:
    """Whether a tensor outside the blocks has the form of what a network of offsets is given."""
    return named.path not in seen.in_block and named.shape[-1] in (2, 3) and len(named.shape) == 2


def _may_be(seen: Survey, named: NamedTensor) -> bool:
    return not seen.has_bias(named) and not seen.is_text(named.path)


def _says(named: NamedTensor) -> bool:
    return says_relative(named.path) or says_position(named.path)


def _has_form(named: NamedTensor) -> bool:
    """Whether a tensor may be a table of biases by its name, its shape and its type."""
    if not named.is_floating or len(named.squeezed) < 1 or len(named.shape) < 2:
        return False
    path = named.path
    if named.leaf == "bias" or "mask" in path or says_rotation(path) or is_no_position(path):
        return False
    return not ("coords" in named.leaf or named.leaf in ("logit_scale", "running_mean"))


def _placed(named: NamedTensor, block: FoundBlock | None) -> tuple[str, str]:
    """Return where a tensor lies and its name there; outside blocks, up to its last number."""
    if block is not None:
        return block.path, wildcard(named.path.removeprefix(block.path).lstrip("."))
    parts = named.path.split(".")
    last = max((i for i, part in enumerate(parts[:-1]) if part[-1:].isdigit()), default=-1)
    return ".".join(parts[: last + 1]), wildcard(".".join(parts[last + 1 :]))


def _index_of(named: NamedTensor, block: FoundBlock | None, indices: Indices) -> NamedTensor | None:
    """Return the index nearest to a table: in its module, else in its block, else at the root."""
    module = indices.get(named.module, ())
    if not module and named.leaf == "weight":  # an Embedding: the index lies beside its module
        module = indices.get(named.module.rpartition(".")[0], ())
    for near in (module, _in_block(named, block, indices), _at_root(named, block, indices)):
        if fitting := [index for index in near if _may_serve(index, named)]:
            return max(fitting, key=lambda i: _alike(i.leaf, named.path))
    return None


def _may_serve(index: NamedTensor, named: NamedTensor) -> bool:
    """Whether an index may be one of pairs: a list of numbers is, for a table of so many rows."""
    if len(index.squeezed) != 1 or not named.squeezed:
        return len(named.squeezed) > 0
    tokens, rows = isqrt(index.size), max(named.squeezed)
    return tokens**2 == index.size and (rows == tokens or any(windows_of(rows, tokens)))


def _in_block(
    named: NamedTensor, block: FoundBlock | None, indices: Indices
) -> Sequence[NamedTensor]:
    if block is None:
        return ()
    own = indices.get(block.path, ())
    return [i for i in own if common_depth(i.path, named.path) > block.path.count(".") + 1]


def _at_root(
    named: NamedTensor, block: FoundBlock | None, indices: Indices
) -> Sequence[NamedTensor]:
    """Return the indices outside the blocks that are for as many offsets, or distances."""
    if block is None or len(named.squeezed) != _ROWS_AND_HEADS:
        return ()
    rows, says = max(named.squeezed), says_relative(named.path)
    found = indices.get(_ROOT, ())
    return [i for i in found if _serves(i, rows) or (says and is_distances(i, rows))]


def _serves(index: NamedTensor, rows: int) -> bool:
    shape = index.squeezed
    is_square = len(shape) == 2 and shape[0] == shape[1]
    return is_square and any(windows_of(rows, shape[0]))


def _alike(one: str, other: str) -> int:
    """How many parts of one name the other has."""
    return sum(part in other for part in one.split("_") if len(part) > 1)


def _axis_form(seen: Survey, named: NamedTensor) -> int | None:
    """Return the rows of a table along one axis beside that of another axis, 0 for other rows.

    `None` where it is no such table.
    """
    pair = pair_axis(named.path)
    if pair is None or len(named.squeezed) != _ROWS_AND_HEADS:
        return None
    if len(seen.axes.get(pair[0], ())) < _ROWS_AND_HEADS:
        return None
    return next((side for side in named.squeezed if side % 2), 0)
