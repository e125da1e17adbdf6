"""From what an unpickler made to a tree of dicts, lists, scalars and lazy tensors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np

from pe_inspect.loading.checkpoint import StoredTensor, is_scalar, tensor_in_memory
from pe_inspect.loading.inert import Array, Bag

__all__ = ["plain_leaf", "plain_tree"]

DEEPEST: Final = 32
LARGEST: Final = 1 << 63


def plain_tree(value: Any, reduced: Callable[[Any], Any]) -> Any:
    """Return `value` as dicts, lists, scalars and `StoredTensor`s.

    A part that is reached twice is converted once, so a file cannot make the tree larger than
    itself; a part that contains itself, or lies deeper than 32 levels, becomes `None`.

    Args:
        value: dicts, lists, tuples, scalars, and things that only `reduced` knows.
        reduced: turns such a thing into one of the others, a `StoredTensor`, or `None`.
    """
    return _Converter(reduced).convert(value, 0)


class _Converter:
    def __init__(self, reduced: Callable[[Any], Any]) -> None:
        self.reduced = reduced
        self.done: dict[int, tuple[Any, Any]] = {}  # the original too: it keeps its id

    def convert(self, value: Any, depth: int) -> Any:
        if is_scalar(value) or isinstance(value, StoredTensor):
            return value
        if depth > DEEPEST:
            return None
        if id(value) not in self.done:
            self.done[id(value)] = value, None  # what a part that contains itself finds
            self.done[id(value)] = value, self._converted(value, depth + 1)
        return self.done[id(value)][1]

    def _converted(self, value: Any, depth: int) -> Any:
        if isinstance(value, dict):
            return {key: self.convert(item, depth) for key, item in value.items() if _is_name(key)}
        if isinstance(value, list | tuple):
            return [self.convert(item, depth) for item in value]
        reduced = self.reduced(value)
        return self._converted(reduced, depth) if isinstance(reduced, dict) else reduced


def _is_name(key: Any) -> bool:
    """Whether a key can be a name: a text, or a number of a few digits, as optimizers have them."""
    is_small = type(key) is not int or abs(key) < LARGEST
    return is_scalar(key) and is_small


def plain_leaf(value: Any) -> Any:
    """Reduce what the restricted unpickler makes beside tensor references."""
    if isinstance(value, Bag):
        return value.values
    array = value.values if isinstance(value, Array) else value
    if isinstance(array, np.ndarray):
        return tensor_in_memory("", array) if array.dtype.kind in "biufc" else None
    return str(value) if type(value).__module__ == "datetime" else None
