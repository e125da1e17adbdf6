"""What a file holds besides the state dict that was read: averages, teachers, optimizers."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from pe_inspect.errors import UnreadableCheckpoint
from pe_inspect.loading.byte_source import LocalFile
from pe_inspect.loading.checkpoint import Checkpoint, StoredTensor
from pe_inspect.loading.containers import weights_in
from pe_inspect.loading.encoding import as_stored
from pe_inspect.loading.formats import SourceFile, recognise
from pe_inspect.loading.rewriting import TensorEdit

__all__ = ["Held", "held_in", "other_copies", "verify"]

_MAY_LACK: Final = re.compile(r"head|fc_norm|classifier|predictor|token|index")


@dataclass(frozen=True, eq=False)
class Held:
    """The tensors of one file.

    Attributes:
        tensors: dotted path → tensor, whatever state dict it is of.
        tree: everything, as the format's reader returned it.
    """

    tensors: Mapping[str, StoredTensor]
    tree: Any

    def paths_of(self, tensor: StoredTensor) -> list[str]:
        """The paths under which the file holds a tensor: several where weights are tied."""
        wanted = _identity(tensor)
        return [path for path, each in self.tensors.items() if _identity(each) == wanted]


def held_in(path: Path) -> Held:
    """Read the headers of one file."""
    file = SourceFile(LocalFile(path))
    tree = recognise(file).read(file).tree
    return Held(weights_in(tree), tree)


def _identity(tensor: StoredTensor) -> tuple[Any, ...]:
    """Equal for two readings of one tensor of one file, whatever the file is called."""
    if isinstance(tensor.storage, tuple) and isinstance(tensor.storage[0], tuple):
        (_, key), *place = tensor.storage
        return (key, *place, tensor.shape)
    return (tensor.key,)


def other_copies(
    checkpoint: Checkpoint, held: Held, keys: Mapping[str, Any]
) -> Iterator[tuple[str, Checkpoint]]:
    """Yield every further copy of the model in the file, and where it lies.

    It holds tensors of the same names and shapes under another prefix, and the model's whole trunk:
    a text tower of the same width has layers of the same names, and no patch embedding.

    Args:
        checkpoint: the copy that was read.
        held: the file.
        keys: the checkpoint's names of the tensors that change.
    """
    own = {_identity(checkpoint.tensors[key]) for key in keys}
    places = {key: _elsewhere(checkpoint, held, key, own) for key in keys}
    trunk = _trunk(checkpoint.tensors)
    for prefix in set.intersection(*(set(found) for found in places.values())) if places else ():
        if not all(_is_at(held, prefix + key, shape) for key, shape in trunk.items()):
            continue
        tensors = {key: found[prefix] for key, found in places.items()}
        yield (
            prefix.removesuffix("."),
            replace(checkpoint, tensors={**checkpoint.tensors, **tensors}),
        )


def _trunk(tensors: Mapping[str, StoredTensor]) -> dict[str, tuple[int, ...]]:
    """The shapes of a model's weights but those of heads and of tokens, which copies may lack."""
    return {
        key: tensor.shape
        for key, tensor in tensors.items()
        if len(tensor.shape) > 1 and not _MAY_LACK.search(key)
    }


def _is_at(held: Held, path: str, shape: tuple[int, ...]) -> bool:
    return path in held.tensors and held.tensors[path].shape == shape


def _elsewhere(
    checkpoint: Checkpoint, held: Held, key: str, own: set[tuple[Any, ...]]
) -> dict[str, StoredTensor]:
    """Prefix → a tensor of the same name and shape, that is another one."""
    tensor = checkpoint.tensors[key]
    return {
        path[: len(path) - len(key)]: each
        for path, each in held.tensors.items()
        if (path == key or path.endswith(f".{key}"))
        and each.shape == tensor.shape
        and _identity(each) not in own
    }


def verify(path: Path, before: Held, edits: list[TensorEdit]) -> None:
    """Open a file that was just written, and compare it with what it was made of.

    Raises:
        UnreadableCheckpoint: it is not what was meant; it gets no name.
    """
    after = held_in(path)
    wanted = {place: edit for edit in edits for place in before.paths_of(edit.tensor)}
    if list(after.tensors) != list(before.tensors):
        raise UnreadableCheckpoint(f"{path}: names were lost in writing. Nothing was named.")
    for place, tensor in after.tensors.items():
        edit, old = wanted.get(place), before.tensors[place]
        shape = old.shape if edit is None else edit.values.shape
        if (tensor.shape, tensor.dtype) != (shape, old.dtype) or not _holds(tensor, edit):
            raise UnreadableCheckpoint(f"{path}: {place} was written wrongly. Nothing was named.")


def _holds(tensor: StoredTensor, edit: TensorEdit | None) -> bool:
    if edit is None:
        return True
    wanted = as_stored(edit.tensor, edit.values)
    return bool(np.array_equal(tensor.read(), wanted, equal_nan=True))
