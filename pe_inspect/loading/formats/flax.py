"""Flax's `.msgpack`: a nested map whose arrays are extensions, each a shape, a type and bytes.

Names of a port of PyTorch's modules (`vit/encoder/layer/0/…`, transformers') are given as PyTorch
has them; JAX's own (`Transformer/encoderblock_0/…`) stay, as in the `.npz` files of that code.
Source: google/flax, flax/serialization.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, Final

import numpy as np

from pe_inspect.arrays import Shaped
from pe_inspect.errors import UnreadableCheckpoint, printable
from pe_inspect.loading.byte_source import ByteSource
from pe_inspect.loading.checkpoint import StoredTensor
from pe_inspect.loading.dtypes import is_known
from pe_inspect.loading.formats import Contents, SourceFile, damaged, reads
from pe_inspect.loading.tensor_bytes import Span, lazy_tensor, unreadable_tensor
from pe_inspect.loading.wire.octets import Octets, octets_of
from pe_inspect.loading.wire.protobuf import Malformed

ARRAY: Final = 1
CHUNKED: Final = "__msgpack_chunked_array__"
_COLLECTIONS: Final = ("params", "batch_stats")
_NOT_WEIGHTS: Final = re.compile(r"opt(_state|imizer.*)?|step|rng|tx")


def is_flax(file: SourceFile) -> bool:
    """A map whose first key is a short text: what flax.serialization writes."""
    mark = rb"(?:[\x81-\x8f]|\xde..|\xdf....)(?:[\xa1-\xbf]|\xd9.)[\w/]"
    return re.match(mark, file.head, re.DOTALL) is not None


@reads(
    "flax",
    name="flax",
    suffixes=(".msgpack",),
    when=is_flax,
    way="load it with flax.serialization.msgpack_restore, numpy.savez its arrays under their "
    "paths, and write from that",
)
def read_flax(file: SourceFile) -> Contents:
    """Walk the map; the bytes of arrays stay in the file.

    Raises:
        UnreadableCheckpoint: the file is truncated or damaged, or holds no arrays.
    """
    from pe_inspect.loading.channels_last import as_torch_has_them
    from pe_inspect.loading.wire.msgpack import unpacked

    with octets_of(file.source) as data:
        try:
            tree = unpacked(data)
            if not isinstance(tree, dict):
                raise Malformed("it is no map")
            tensors = dict(_arrays(tree, (), data, file.source))
        except Malformed as error:
            raise damaged(file, f"is truncated, or no file of Flax: {error}") from error
    if not tensors:
        raise UnreadableCheckpoint(
            f"{file} is a msgpack file without arrays. Expected one of flax.serialization; save "
            "its weights as .safetensors or .npz and give those."
        )
    if not any(part.isdecimal() for path in tensors for part in path.split("/")):
        return Contents(tensors, file.source, notes=("names as JAX has them",))
    note = "names and axes as PyTorch has them: kernels transposed"
    return Contents(as_torch_has_them(tensors), file.source, notes=(note,))


def _arrays(
    node: Mapping[str, Any], path: tuple[str, ...], data: Octets, source: ByteSource
) -> Iterator[tuple[str, StoredTensor]]:
    """The arrays of a nested map by their paths; collections of variables are one."""
    from pe_inspect.loading.wire.msgpack import Extension

    for name, part in node.items():
        inner = path if not path and name in _COLLECTIONS else (*path, name)
        if isinstance(part, dict) and CHUNKED in part:
            yield "/".join(inner), _joined(part, data, source)
        elif isinstance(part, dict) and (path or not _NOT_WEIGHTS.fullmatch(name)):
            yield from _arrays(part, inner, data, source)
        elif isinstance(part, Extension) and part.code == ARRAY:
            yield "/".join(inner), _array(part, data, source)


def _array(place: Any, data: Octets, source: ByteSource) -> StoredTensor:
    from pe_inspect.loading.wire.msgpack import ByteString, unpacked

    said = unpacked(data, place.start, place.stop)
    if not isinstance(said, list) or len(said) != 3 or not isinstance(said[2], ByteString):
        raise Malformed("an array that is none")
    shape, dtype, (start, stop) = _shape(said[0]), str(said[1]), said[2]
    if not is_known(dtype):
        return unreadable_tensor(shape, printable(dtype), f"numbers of type {printable(dtype)}")
    try:
        return lazy_tensor(Span(source, start, stop - start), dtype, shape)
    except UnreadableCheckpoint as error:
        raise Malformed(str(error)) from error


def _shape(value: Any) -> tuple[int, ...]:
    sides = list(value.values()) if isinstance(value, dict) else value
    if not isinstance(sides, list) or any(type(side) is not int or side < 0 for side in sides):
        raise Malformed("a shape that is none")
    return tuple(sides)


def _joined(said: Mapping[str, Any], data: Octets, source: ByteSource) -> StoredTensor:
    """An array of more than a gigabyte, which is kept in flat pieces."""
    from pe_inspect.loading.wire.msgpack import Extension

    shape, pieces = _shape(said.get("shape")), said.get("chunks")
    if not isinstance(pieces, dict) or not all(isinstance(p, Extension) for p in pieces.values()):
        raise Malformed("an array in pieces that are none")
    order = sorted(pieces, key=lambda name: int(name) if name.isdecimal() else 0)
    parts = [_array(pieces[name], data, source) for name in order]
    if sum(part.size for part in parts) != np.prod(shape, dtype=object) or not parts:
        raise Malformed("an array whose pieces are not all of it")
    return replace(parts[0], shape=shape, read=partial(_concatenated, parts, shape))


def _concatenated(parts: list[StoredTensor], shape: tuple[int, ...]) -> Shaped[np.ndarray, "..."]:
    return np.concatenate([part.read().ravel() for part in parts]).reshape(shape)
