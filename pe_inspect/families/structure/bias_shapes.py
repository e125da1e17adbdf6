"""What the shape of a table that acts inside attention tells: offsets, distances, or pairs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from math import isqrt, prod
from typing import Final, Literal

from pe_inspect.families.structure.blocks import FoundBlock
from pe_inspect.families.structure.names import NamedTensor, pair_axis

__all__ = ["Form", "Shaped", "Window", "boxes", "is_distances", "shape_of", "windows_of"]

Form = Literal["offsets", "distances", "pairs", "axes"]
Window = tuple[int, ...]

_TABLE_WORDS: Final = re.compile(r"bias|table|emb|rpb|rpe|weight|pos$", re.I)
_MOST_HEADS: Final = 128
_CLS_ROWS: Final = 3
_WITH_FRAMES: Final = 4  # axes of offsets of frames, rows and columns a head

Shaped = tuple[Form, int, int, int | None, tuple[int, ...]]


def shape_of(
    named: NamedTensor, index: NamedTensor | None, block: FoundBlock | None, *, says: bool
) -> Shaped | None:
    """Return (form, heads, rows, axis of the heads, sides of offsets) of a tensor; else nothing.

    Args:
        named: the tensor.
        index: the integer index that belongs to it.
        block: which holds it.
        says: whether its name says relative.
    """
    shape = named.shape
    while len(shape) > 2 and shape[0] == 1:
        shape = shape[1:]
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    if len(shape) == 2:
        return _of_two(named, shape, index, block, says=says)
    width = block.width if block else 0
    if len(shape) == _WITH_FRAMES:
        return _of_sides(shape, width)
    return _of_three(shape, width) if len(shape) == 3 and pair_axis(named.path) is None else None


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
    if index is not None and is_distances(index, rows):
        return "distances", heads, rows, axis, ()
    if heads == 1 and index is None and block is None:
        return None  # a vector with a batch axis
    if axis == 0 and _is_window(rows) and rows % 2 == 0:
        return "distances", heads, rows, axis, ()
    if axis == 0 and index is None:
        return "distances", heads, rows, axis, ()
    return ("offsets", heads, rows, axis, ()) if rows >= 5 else None


def _of_three(shape: tuple[int, ...], width: int) -> Shaped | None:
    first, second, third = shape
    if max(second, third) == 1:
        return None
    if second == third and _is_window(second) and not (second % 2 and _is_offsets(second)):
        return "pairs", first, second, 0, ()
    if first == second and _is_window(first) and third <= _MOST_HEADS and not first % 2:
        return "pairs", third, first, 2, ()
    if (offsets := _of_sides(shape, width)) is not None:
        return offsets
    return ("pairs", first, second, 0, ()) if second == third else None


def _of_sides(shape: tuple[int, ...], width: int) -> Shaped | None:
    """Return offsets of odd sides and their heads, first or last: as many as divide the width."""
    last = len(shape) - 1
    ways = [(axis, shape[axis], (*shape[:axis], *shape[axis + 1 :])) for axis in (0, last)]
    fitting = [way for way in ways if way[1] <= _MOST_HEADS and all(s % 2 for s in way[2])]
    fitting.sort(key=lambda way: width % way[1] != 0)
    if not fitting:
        return None
    axis, heads, sides = fitting[0]
    return "offsets", heads, prod(sides), axis, sides


def _is_offsets(side: int) -> bool:
    return side < 64 and not _is_window(side)


def _is_window(tokens: int) -> bool:
    side = isqrt(tokens)
    return side > 1 and side * side == tokens


def is_distances(index: NamedTensor, rows: int) -> bool:
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


def boxes(number: int) -> Iterator[Window]:
    """Yield every window of three sides, none of them 1, of so many places."""
    for t in range(2, number // 4 + 1):
        rest = range(2, isqrt(number // t) + 1) if number % t == 0 else ()
        yield from ((t, h, number // t // h) for h in rest if (number // t) % h == 0)
