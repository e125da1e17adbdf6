"""The weights in Keras's HDF5 files, by paths of layers' names; no link is followed.

Keras 2 names every weight in full. Keras 3 numbers a layer's variables and keeps the names of
layers as attributes; what a number stands for, its shape and its neighbours tell.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import h5py
import numpy as np

from pe_inspect.arrays import Shaped
from pe_inspect.errors import UnreadableCheckpoint, printable, reason
from pe_inspect.loading.byte_source import ByteSource
from pe_inspect.loading.checkpoint import StoredTensor
from pe_inspect.loading.dtypes import is_known
from pe_inspect.loading.formats import damaged
from pe_inspect.loading.tensor_bytes import Span, lazy_tensor, unreadable_tensor
from pe_inspect.loading.wire.hdf5_texts import text_attribute
from pe_inspect.loading.wire.octets import Octets, octets_of

__all__ = ["KerasWeights", "keras_weights"]

DEEPEST: Final = 32
MOST_OBJECTS: Final = 100_000
FREE: Final = 16 << 20
HIGHEST_RATIO: Final = 64
"""What packed numbers unpack to at most: 16 MiB, and 64 times what lies in the file."""
VARIABLES: Final = "vars"
_NOT_WEIGHTS: Final = re.compile(r"optimizer.*|seed_generator.*")
_STRUCTURE: Final = ("layers", "_layer_checkpoint_dependencies", "_operations")
"""Groups in which Keras 3 keeps a model's layers, and which no name has."""


@dataclass(frozen=True)
class KerasWeights:
    """A file's weights.

    Attributes:
        tensors: by path: names of layers, then the variable's.
        notes: what was left out, in words.
    """

    tensors: dict[str, StoredTensor]
    notes: tuple[str, ...] = ()


def keras_weights(source: ByteSource) -> KerasWeights:
    """Walk a file.

    Raises:
        UnreadableCheckpoint: it is truncated or damaged.
    """
    with _opened(source) as file, octets_of(source) as data:
        walk = _Walk(source, data)
        root = file["model_weights"] if isinstance(file.get("model_weights"), h5py.Group) else file
        found = dict(walk.datasets(root, ()))
        names = dict(walk.layer_names)
    is_numbered = any(VARIABLES in path for path in found)
    tensors = _of_keras_3(found, names) if is_numbered else _of_keras_2(found)
    count = walk.links
    note = (f"links out of the file or of its tree were not followed: {count}",) if count else ()
    return KerasWeights(tensors, note)


@contextmanager
def _opened(source: ByteSource) -> Iterator[h5py.File]:
    try:
        with source.open() as stream, h5py.File(stream, "r") as file:
            yield file
    except UnreadableCheckpoint:
        raise
    except Exception as error:  # what h5py raises for a stranger's bytes is of many kinds
        raise damaged(source, f"is no HDF5 file, truncated or damaged ({reason(error)})") from error


Path = tuple[str, ...]


class _Walk:
    """Goes through groups by hard links alone, each object once."""

    def __init__(self, source: ByteSource, data: Octets) -> None:
        self.source, self.data = source, data
        self.links, self.left = 0, MOST_OBJECTS
        self.layer_names: dict[Path, str] = {}
        self.seen: set[Any] = set()

    def datasets(self, group: h5py.Group, path: Path) -> Iterator[tuple[Path, StoredTensor]]:
        address = h5py.h5o.get_info(group.id).addr
        if len(path) > DEEPEST or address in self.seen:
            return
        self.seen.add(address)
        for name in _in_order(group):
            self.left -= 1
            if self.left < 0:
                raise ValueError(f"more than {MOST_OBJECTS} objects")
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                self.links += 1
            elif path or not _NOT_WEIGHTS.fullmatch(name):
                yield from self._object(group[name], (*path, name))

    def _object(self, found: Any, path: Path) -> Iterator[tuple[Path, StoredTensor]]:
        if isinstance(found, h5py.Dataset):
            yield path, _tensor(found, self.source)
        elif isinstance(found, h5py.Group):
            address = h5py.h5o.get_info(found.id).addr
            said = text_attribute(self.data, address, "name") if path[-1] == VARIABLES else ""
            if said:
                self.layer_names[path[:-1]] = printable(said)
            yield from self.datasets(found, path)


def _in_order(group: h5py.Group) -> list[str]:
    """Names as people count: `layer_2` before `layer_10`."""
    return sorted(group, key=lambda name: [p.zfill(9) for p in re.split(r"(\d+)", name)])


def _tensor(dataset: h5py.Dataset, source: ByteSource) -> StoredTensor:
    """A dataset as a lazy tensor; in one piece, it is read from its place.

    Raises:
        UnreadableCheckpoint: it claims more bytes than the file can hold.
    """
    name, shape, dtype = dataset.name or "", tuple(dataset.shape or ()), dataset.dtype
    if not is_known(dtype.name) or dataset.shape is None:
        return unreadable_tensor(shape, printable(str(dtype)), f"values of type {dtype}")
    if dataset.external or dataset.is_virtual:
        return unreadable_tensor(shape, dtype.name, "numbers that lie in other files")
    nbytes = int(np.prod(shape, dtype=object)) * dtype.itemsize
    place = dataset.id.get_offset()
    if place is not None:
        if place + nbytes > source.size:
            raise damaged(source, f"is truncated: {printable(name)} ends at {place + nbytes}")
        is_big = dtype.byteorder == ">"
        return lazy_tensor(Span(source, place, nbytes), dtype.name, shape, big_endian=is_big)
    if nbytes > FREE + HIGHEST_RATIO * dataset.id.get_storage_size():
        raise damaged(source, f"has {printable(name)}, which claims to unpack to {nbytes} bytes")
    return StoredTensor("", shape, dtype.name, partial(_unpacked, source, name))


def _unpacked(source: ByteSource, name: str) -> Shaped[np.ndarray, "..."]:
    with _opened(source) as file:
        values = np.asarray(file[name][()])
    native = values.astype(values.dtype.newbyteorder("="), copy=False)
    return native.astype(np.float32) if native.dtype == np.float16 else native


def _of_keras_2(found: Mapping[Path, StoredTensor]) -> dict[str, StoredTensor]:
    """A layer's group, then the weight's own name, which begins with the layer's again."""
    paths = {path: path[1:] if len(path) > 2 else path for path in found}
    whole = {inner[0] for inner in paths.values()}
    is_under_one = len(whole) == 1 and all(len(inner) > 2 for inner in paths.values())
    named = {path: "/".join(inner[is_under_one:]) for path, inner in paths.items()}
    return {_split_lists(named[path]): tensor for path, tensor in found.items()}


def _split_lists(name: str) -> str:
    """`layer_._3/attention/kernel:0` is the third of a list: `layer/3/attention/kernel`."""
    return re.sub(r":\d+$", "", name.replace("_._", "/"))


def _of_keras_3(
    found: Mapping[Path, StoredTensor], names: Mapping[Path, str]
) -> dict[str, StoredTensor]:
    """Layers by the names that they keep as attributes, variables by what their shapes are."""
    by_layer: dict[Path, dict[str, StoredTensor]] = {}
    for path, tensor in found.items():
        if VARIABLES in path[:-1]:
            by_layer.setdefault(path[:-2], {})[path[-1]] = tensor
    tensors: dict[str, StoredTensor] = {}
    for path, variables in by_layer.items():
        words = _variable_names([variables[n].shape for n in variables])
        layer = [names.get(path[: i + 1], step) for i, step in enumerate(path)]
        kept = [name for name, step in zip(layer, path) if step not in _STRUCTURE]
        for word, tensor in zip(words, variables.values()):
            tensors["/".join([*kept, word])] = tensor
    return tensors


def _variable_names(shapes: list[tuple[int, ...]]) -> list[str]:
    """What a layer's variables are, in their order: a kernel and its bias, or a norm's numbers."""
    if shapes and all(len(shape) == 1 for shape in shapes):
        return ["gamma", "beta", "moving_mean", "moving_variance", *map(str, range(4, 99))]
    if len(shapes) == 1 and len(shapes[0]) == 3 and shapes[0][:2] == (1, 1):
        return ["class_token"]
    if len(shapes) == 2 and shapes[1] == shapes[0][-len(shapes[1]) :]:
        return ["kernel", "bias"]
    if len(shapes) == 1:
        return ["embeddings" if len(shapes[0]) == 2 else "kernel"]
    return [str(i) for i in range(len(shapes))]
