"""The tensors of a file under names without wrappers, wherever in a name the wrappers stand."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Final

from pe_inspect.loading.checkpoint import Checkpoint

__all__ = ["NamedTensor", "common_depth", "named_tensors", "wildcard", "words"]

_WRAPPERS: Final = frozenset({
    "module", "_orig_mod", "_forward_module", "_fsdp_wrapped_module", "_checkpoint_wrapped_module",
    "_fpw_module", "base_layer", "original_module",
})  # fmt: skip
_LORA_BASE: Final = re.compile(r"(?:^|(?<=\.))base_model\.model\.")
_SIDE: Final = re.compile(r"\.(?:lora_\w+|modules_to_save)(?:\.|$)")
_LONGEST: Final = 500  # characters of a name that is looked at
_NUMBER: Final = re.compile(r"\d+")
_WORD: Final = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")


@dataclass(frozen=True)
class NamedTensor:
    """One tensor under its name without wrappers.

    Attributes:
        path: the name, dots between its parts, no wrapper among them.
        key: the checkpoint's name of it.
        shape: as stored.
        dtype: as stored, by numpy's name.
    """

    path: str
    key: str
    shape: tuple[int, ...]
    dtype: str

    @property
    def size(self) -> int:
        """How many numbers it holds."""
        return prod(self.shape)

    @property
    def is_floating(self) -> bool:
        """Whether its numbers are real and fractional."""
        return self.dtype.startswith(("float", "bfloat"))

    @property
    def is_index(self) -> bool:
        """Whether its numbers are integers."""
        return self.dtype.startswith(("int", "uint"))

    @cached_property
    def module(self) -> str:
        """The path of the module that it belongs to."""
        return self.path.rpartition(".")[0]

    @cached_property
    def leaf(self) -> str:
        """The last part of its path."""
        return self.path.rpartition(".")[2]

    @cached_property
    def squeezed(self) -> tuple[int, ...]:
        """The shape without axes of length 1."""
        return tuple(side for side in self.shape if side != 1)


def named_tensors(checkpoint: Checkpoint) -> Mapping[str, NamedTensor]:
    """Return path → tensor in the file's order; the side tensors of LoRA are left out.

    Of two names that become one, the first keeps the path.
    """
    found: dict[str, NamedTensor] = {}
    for key in checkpoint.keys:
        path = without_wrappers(key)
        if path and not _SIDE.search(path):
            found.setdefault(
                path, NamedTensor(path, key, checkpoint.shape(key), checkpoint.dtype(key))
            )
    return found


def without_wrappers(key: str) -> str:
    """Return a key without the wrappers that stand anywhere in it."""
    if len(key) > _LONGEST:
        return key
    path = _LORA_BASE.sub("", key.replace("/", "."))
    return ".".join(part for part in path.split(".") if part not in _WRAPPERS)


def wildcard(path: str) -> str:
    """Return a path with its numbers as wildcards."""
    return _NUMBER.sub("#", path)


def words(path: str) -> tuple[str, ...]:
    """Return the words of a path: parts, parts of parts, and humps, in lower case."""
    return tuple(word.lower() for word in _WORD.findall(path))


def common_depth(one: str, other: str) -> int:
    """How many leading parts two paths have in common."""
    count = 0
    for a, b in zip(one.split("."), other.split(".")):
        if a != b:
            break
        count += 1
    return count
