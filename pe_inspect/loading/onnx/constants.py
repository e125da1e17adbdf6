"""A constant of a graph as a lazy tensor, wherever its numbers lie."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from pathlib import PurePosixPath
from typing import Final

import numpy as np

from pe_inspect.arrays import Shaped
from pe_inspect.errors import UnreadableCheckpoint, printable
from pe_inspect.loading.byte_source import ByteSource
from pe_inspect.loading.checkpoint import StoredTensor
from pe_inspect.loading.dtypes import decode, itemsize
from pe_inspect.loading.formats import damaged
from pe_inspect.loading.onnx.graph import Constant
from pe_inspect.loading.tensor_bytes import Span, unreadable_tensor, whole_tensor
from pe_inspect.loading.wire.protobuf import Malformed, varints

__all__ = ["TYPES", "external_files", "lazy_constant"]

TYPES: Final = {
    1: "float32", 2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 6: "int32", 7: "int64",
    9: "bool", 10: "float16", 11: "float64", 12: "uint32", 13: "uint64", 14: "complex64",
    15: "complex128", 16: "bfloat16", 17: "float8_e4m3fn", 18: "float8_e4m3fnuz",
    19: "float8_e5m2", 20: "float8_e5m2fnuz", 24: "float8_e8m0fnu",
}  # fmt: skip
_NARROW: Final = {8: "string", 21: "uint4", 22: "int4", 23: "float4_e2m1", 25: "uint2", 26: "int2"}
LONGEST_VARINT: Final = 10

Finder = Callable[[str], ByteSource]


def external_files(source: ByteSource) -> Finder:
    """Return a function that finds the files beside a model in which its numbers lie.

    A name that leads out of the model's folder is refused.
    """
    found: dict[str, ByteSource] = {}

    def find(name: str) -> ByteSource:
        if name in found:
            return found[name]
        place = PurePosixPath(name.replace("\\", "/"))
        if not name or place.is_absolute() or ".." in place.parts or ":" in place.parts[0]:
            raise UnreadableCheckpoint(
                f"{source} says that its numbers lie in {printable(name)!r}, outside of its "
                "folder, where nothing is looked for. Save it with its data beside it: "
                "onnx.save(model, PATH, save_as_external_data=True)."
            )
        file = source.folder.find(str(place))
        if file is None:
            raise UnreadableCheckpoint(
                f"{source} keeps its numbers in {printable(name)!r}, which is not in "
                f"{source.folder}. Copy or download it into the same folder."
            )
        return found.setdefault(name, file)

    return find


def lazy_constant(constant: Constant, source: ByteSource, find: Finder) -> StoredTensor:
    """Return a constant as a tensor that is read on demand.

    Raises:
        UnreadableCheckpoint: its bytes are not there, or not as many as its shape needs.
    """
    dtype, shape, name = TYPES.get(constant.code, ""), constant.shape, constant.name
    if not dtype:
        kind = _NARROW.get(constant.code, f"type {constant.code}")
        return unreadable_tensor(shape, kind, f"numbers of {kind} (ONNX)").named(name)
    if constant.kind == "varints":
        return _of_varints(constant, dtype, source)
    if constant.kind in ("float32", "float64") and constant.kind != dtype:
        raise damaged(source, f"keeps {printable(name)} ({dtype}) as {constant.kind}")
    place, start, stop = _place(constant, source, find)
    needed = math.prod(shape) * itemsize(dtype)
    if stop - start != needed or stop > place.size or start < 0:
        raise damaged(
            place,
            f"is truncated or damaged: {printable(name)} is {dtype} of shape {list(shape)}, which "
            f"is not {stop - start} bytes from byte {start} on",
        )
    if not needed:
        return StoredTensor(name, shape, dtype, lambda: np.zeros(shape, np.float32))
    return whole_tensor(place, start, dtype, shape, name)


def _place(constant: Constant, source: ByteSource, find: Finder) -> tuple[ByteSource, int, int]:
    if constant.kind != "external":
        return source, constant.start, constant.stop
    said = constant.elsewhere
    file = find(said.get("location", ""))
    try:
        start = int(said.get("offset", "0"))
        length = int(said["length"]) if "length" in said else file.size - start
    except ValueError as error:
        raise damaged(source, f"names no place of {printable(constant.name)}") from error
    return file, start, start + length


def _of_varints(constant: Constant, dtype: str, source: ByteSource) -> StoredTensor:
    """Numbers that the message keeps one by one; half floats by their bits."""
    count, nbytes = math.prod(constant.shape), constant.stop - constant.start
    if not count <= nbytes <= LONGEST_VARINT * count:
        raise damaged(source, f"keeps {count} numbers of {constant.name!r} in {nbytes} bytes")
    read = partial(_read_varints, source, constant, dtype)
    return StoredTensor(constant.name, constant.shape, dtype, read)


def _read_varints(source: ByteSource, constant: Constant, dtype: str) -> Shaped[np.ndarray, "..."]:
    nbytes = constant.stop - constant.start
    try:
        values = varints(bytes(Span(source, constant.start, nbytes).read(0, nbytes)))
        whole = values.reshape(constant.shape)
    except (Malformed, ValueError) as error:
        raise damaged(source, f"holds no numbers in {constant.name!r} ({error})") from error
    bits = whole.astype(f"<u{itemsize(dtype)}") if itemsize(dtype) < 8 else whole
    return decode(bits.tobytes(), dtype).reshape(constant.shape)
