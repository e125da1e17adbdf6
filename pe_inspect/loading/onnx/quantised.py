"""Integers with a scale, as ONNX's DequantizeLinear and ONNX Runtime keep weights, widened.

Source: onnx/onnx, Operators.md, DequantizeLinear: (x − zero point) · scale, both one number or one
a channel.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

import numpy as np

from pe_inspect.arrays import Shaped
from pe_inspect.loading.checkpoint import StoredTensor
from pe_inspect.loading.onnx.graph import Graph
from pe_inspect.loading.tensor_bytes import unreadable_tensor

__all__ = ["Widened", "widened_constants"]

_ENDS: Final = ("_quantized", "_scale", "_zero_point")
"""What ONNX Runtime's tools append to a weight's name for its three parts."""


@dataclass(frozen=True)
class Widened:
    """Integers and what scales them.

    Attributes:
        name: of the constant that holds the integers.
        tensor: the numbers that they stand for.
        parts: the names of the constants that scale them.
    """

    name: str
    tensor: StoredTensor
    parts: tuple[str, ...]


def widened_constants(graph: Graph, tensors: Mapping[str, StoredTensor]) -> Iterator[Widened]:
    """Yield every constant that a node or a name says is scaled."""
    for node in graph.nodes:
        if node.op == "DequantizeLinear" and node.inputs[:1] and node.inputs[0] in tensors:
            parts = tuple(name for name in node.inputs[1:] if name)
            axis, block = (int(node.numbers.get(n, d)) for n, d in (("axis", 1), ("block_size", 0)))
            yield _widened(node.inputs[0], parts, tensors, axis, block)
    for name in tensors:
        stem = name.removesuffix(_ENDS[0])
        parts = tuple(stem + end for end in _ENDS[1:])
        if stem != name and all(part in tensors for part in parts):
            yield _widened(name, parts, tensors, None, 0)


def _widened(
    name: str,
    parts: tuple[str, ...],
    tensors: Mapping[str, StoredTensor],
    axis: int | None,
    block: int,
) -> Widened:
    whole, known = tensors[name], [tensors[part] for part in parts if part in tensors]
    if block or len(known) < len(parts) or any(len(part.shape) > 1 for part in known):
        what = "integers that are scaled by blocks"
        return Widened(name, unreadable_tensor(whole.shape, whole.dtype, what).named(name), parts)
    read = partial(_scaled, whole, known, axis)
    return Widened(name, replace(whole, dtype="float32", read=read), parts)


def _scaled(
    whole: StoredTensor, parts: list[StoredTensor], axis: int | None
) -> Shaped[np.ndarray, "..."]:
    values = whole.read().astype(np.float32)
    scale, *zero = (_along(part.read(), values.shape, axis) for part in parts)
    shifted: np.ndarray = values - zero[0].astype(np.float32) if zero else values
    scaled: np.ndarray = (shifted * scale).astype(np.float32)
    return scaled


def _along(
    numbers: Shaped[np.ndarray, "..."], shape: tuple[int, ...], axis: int | None
) -> Shaped[np.ndarray, "..."]:
    """One number, or one a channel in the place of its axis; the last that fits if none is said."""
    if numbers.size == 1:
        return numbers.reshape(())
    fitting = [i for i, side in enumerate(shape) if side == numbers.size]
    where = axis % len(shape) if axis is not None else fitting[-1]
    return numbers.reshape([-1 if i == where else 1 for i in range(len(shape))])
