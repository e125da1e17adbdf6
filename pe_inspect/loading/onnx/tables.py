"""What an exporter's folding made of position tables, undone where that is exact.

A table that was cut into a class token's row and a grid, and put together again, is two constants
that one Concat joins. A bias that was gathered by an index is a constant (heads, N, N) in which
all pairs of one offset hold the same number: then the table is what it holds once for each.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

import numpy as np

from pe_inspect.arrays import Int, Shaped
from pe_inspect.errors import UnreadableCheckpoint
from pe_inspect.loading.checkpoint import StoredTensor
from pe_inspect.loading.onnx.graph import Graph, Node
from pe_inspect.loading.onnx.naming import PASSED, Uses

__all__ = [
    "LARGEST_LOOK",
    "TO_SOFTMAX",
    "Joined",
    "is_square",
    "joined",
    "joined_tables",
    "ungathered",
]

LARGEST_LOOK: Final = 1 << 26
"""Bytes of biases that opening a file may look at; what comes after stays as it is."""
FEWEST: Final = 4
TO_SOFTMAX: Final = frozenset({"Add", "Cast", "Reshape", "Mul", "Where"})
"""What a bias may pass on its way."""


@dataclass(frozen=True)
class Joined:
    """Constants that are one table.

    Attributes:
        parts: their names, in the order of rows.
        node: what joins them.
    """

    parts: tuple[str, ...]
    node: Node


def joined_tables(graph: Graph, tensors: dict[str, StoredTensor]) -> Iterator[Joined]:
    """Yield the tables that a Concat makes of constants alone."""
    made_by = {out: node for node in graph.nodes for out in node.outputs}
    for node in graph.nodes:
        if node.op != "Concat":
            continue
        origins = [_origin(value, made_by, tensors) for value in node.inputs]
        parts = tuple(origin for origin in origins if origin is not None)
        if len(parts) == len(node.inputs) > 1 and _are_rows([tensors[part] for part in parts]):
            yield Joined(parts, node)


def _origin(value: str, made_by: dict[str, Node], tensors: dict[str, StoredTensor]) -> str | None:
    """The constant that a value is, as it is or on another grid."""
    for _ in range(16):
        if value in tensors:
            return value
        node = made_by.get(value)
        if node is None or node.op not in PASSED or not node.inputs:
            return None
        value = node.inputs[0]
    return None


def _are_rows(parts: Sequence[StoredTensor]) -> bool:
    """Whether they are rows of one width, a grid of them among them."""
    widths = {part.shape[-1] if part.shape else 0 for part in parts}
    rows = [part.size // max(part.shape[-1], 1) for part in parts if part.shape]
    are_floats = all(part.is_floating for part in parts)
    return are_floats and len(widths) == 1 and min(widths) > 1 and max(rows) >= FEWEST


def joined(parts: Sequence[StoredTensor]) -> StoredTensor:
    """Return the table (1, rows, width) of which these are the rows."""
    width = parts[0].shape[-1]
    rows = sum(part.size // width for part in parts)
    return StoredTensor("", (1, rows, width), parts[0].dtype, partial(_join, tuple(parts), width))


def _join(parts: tuple[StoredTensor, ...], width: int) -> Shaped[np.ndarray, "..."]:
    return np.concatenate([part.read().reshape(-1, width) for part in parts])[None]


def ungathered(
    uses: Uses, name: str, tensor: StoredTensor, budget: int
) -> tuple[StoredTensor | None, Int[np.ndarray, "tokens tokens"] | None, int]:
    """Return a gathered bias as its table, with the index that gathers it, and bytes looked at.

    Args:
        uses: who uses which value.
        name: the constant's.
        tensor: the constant.
        budget: bytes that may be looked at.

    Returns:
        No table where it is no bias, or where none gathers to it; no index then either.
    """
    shape = _bias_shape(tensor)
    is_used = shape is not None and uses.reaches(name, "Softmax", TO_SOFTMAX)
    if shape is None or not is_used or 4 * tensor.size > budget:
        return None, None, 0
    values = tensor.read().reshape(shape)
    found = _window(values[0])
    if found is None:
        return None, None, 4 * tensor.size
    index = window_index(*found)
    table_shape = (int(index.max()) + 1, shape[0])
    read = partial(_table, tensor, shape, index)
    table = replace(tensor, shape=table_shape, read=read)
    if not np.array_equal(_gathered(table.read(), index), values):
        return None, None, 4 * tensor.size
    return table, index, 4 * tensor.size


def _bias_shape(tensor: StoredTensor) -> tuple[int, int, int] | None:
    """(heads, N, N) of a constant with one more axis of 1 before, or none."""
    shape = tensor.shape
    if len(shape) == 4 and shape[0] == 1:
        shape = shape[1:]
    is_bias = len(shape) == 3 and is_square(shape) and tensor.is_floating
    return (shape[0], shape[1], shape[2]) if is_bias else None


def is_square(shape: tuple[int, ...]) -> bool:
    """Whether the last two axes are pairs of tokens, by their sides."""
    return len(shape) > 2 and shape[-1] == shape[-2] >= FEWEST


def _window(head: Shaped[np.ndarray, "tokens tokens"]) -> tuple[tuple[int, int], bool] | None:
    """Return the one window, and whether a class token stands before it, that the numbers fit."""
    fits = [
        (window, has_prefix)
        for has_prefix in (False, True)
        for window in _windows(len(head) - has_prefix)
        if _is_gathered(head, window_index(window, has_prefix))
    ]
    return fits[0] if len(fits) == 1 else None


def _windows(tokens: int) -> Iterator[tuple[int, int]]:
    for rows in range(2, math.isqrt(max(tokens, 0)) + 1):
        if tokens % rows == 0:
            yield from {(rows, tokens // rows), (tokens // rows, rows)}


def _is_gathered(
    head: Shaped[np.ndarray, "tokens tokens"], index: Int[np.ndarray, "tokens tokens"]
) -> bool:
    table = np.zeros(int(index.max()) + 1, head.dtype)
    table[index] = head
    return bool((table[index] == head).all())


def window_index(window: tuple[int, int], has_prefix: bool) -> Int[np.ndarray, "tokens tokens"]:
    """Return which row of the table each pair of tokens has.

    Rows are offsets, of columns fastest; a class token has three more: from it, to it, to itself.
    Source: arXiv:2103.14030, section 3.2; BEiT's three rows are those of arXiv:2106.08254's code.
    """
    height, width = window
    place = np.indices(window).reshape(2, -1)
    offsets = place[:, :, None] - place[:, None, :]
    index: np.ndarray = (offsets[0] + height - 1) * (2 * width - 1) + offsets[1] + width - 1
    if not has_prefix:
        return index
    rows = (2 * height - 1) * (2 * width - 1)
    whole = np.empty((len(index) + 1,) * 2, index.dtype)
    whole[1:, 1:], whole[0], whole[:, 0], whole[0, 0] = index, rows, rows + 1, rows + 2
    return whole


def _gathered(
    table: Shaped[np.ndarray, "offsets heads"], index: Int[np.ndarray, "tokens tokens"]
) -> Shaped[np.ndarray, "heads tokens tokens"]:
    gathered: np.ndarray = table[index].transpose(2, 0, 1)
    return gathered


def _table(
    tensor: StoredTensor, shape: tuple[int, int, int], index: Int[np.ndarray, "tokens tokens"]
) -> Shaped[np.ndarray, "offsets heads"]:
    values = tensor.read().reshape(shape)
    table: np.ndarray = np.zeros((int(index.max()) + 1, shape[0]), values.dtype)
    table[index] = values.transpose(1, 2, 0)
    if not np.array_equal(_gathered(table, index), values):
        raise UnreadableCheckpoint("The file changed after it was opened. Open it again.")
    return table
