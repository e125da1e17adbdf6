"""The head of a GGUF file: settings by name, and where each tensor lies.

Source: ggml-org/ggml, docs/gguf.md, versions 2 and 3.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from pe_inspect.loading.wire.octets import Octets
from pe_inspect.loading.wire.protobuf import Malformed

__all__ = ["Header", "TensorInfo", "read_header"]

MAGIC: Final = b"GGUF"
VERSIONS: Final = (2, 3)
MOST_TENSORS: Final = 100_000
MOST_SETTINGS: Final = 10_000
LONGEST_TEXT: Final = 1 << 16
LONGEST_KEPT: Final = 64
"""Items of a list that are kept; vocabularies are passed over."""
MOST_AXES: Final = 8
ALIGNMENT: Final = 32
_TEXT, _LIST = 8, 9
_NUMBERS: Final = {
    0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q",
    12: "<d",
}  # fmt: skip
_FEWEST_TENSOR: Final = 8 + 4 + 4 + 8
_FEWEST_SETTING: Final = 8 + 4 + 1


class TensorInfo(NamedTuple):
    """A tensor's entry.

    Attributes:
        name: its own.
        shape: as numpy has it, the last axis the fastest; the file keeps it the other way round.
        kind: GGML's number of its type.
        start: its first byte in the file.
    """

    name: str
    shape: tuple[int, ...]
    kind: int
    start: int


@dataclass(frozen=True)
class Header:
    """What the head says.

    Attributes:
        settings: by name; long lists are left out.
        tensors: in the order of the file's entries.
        places: of settings that are numbers, where each lies and how it is written.
        infos_start: where the entries of tensors begin.
        alignment: of the tensors' bytes.
    """

    settings: Mapping[str, Any]
    tensors: tuple[TensorInfo, ...]
    places: Mapping[str, tuple[int, str]]
    infos_start: int
    alignment: int


class _Cursor:
    def __init__(self, data: Octets) -> None:
        self.data, self.position = data, 0

    def take(self, count: int) -> bytes:
        stop = self.position + count
        if count < 0 or stop > len(self.data):
            raise Malformed(f"it ends within its head, at byte {self.position}")
        content = self.data[self.position : stop]
        self.position = stop
        return content

    def skip(self, count: int) -> None:
        self.position += count
        if self.position > len(self.data):
            raise Malformed("a list that reaches beyond the end of the file")

    def number(self, form: str) -> Any:
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def text(self) -> str:
        length = self.number("<Q")
        if length > LONGEST_TEXT:
            self.skip(length)
            return ""
        return self.take(length).decode("utf-8", "replace")


def read_header(data: Octets) -> Header:
    """Walk the head.

    Raises:
        Malformed: it is truncated, of an unknown version, or makes no sense.
    """
    cursor = _Cursor(data)
    if cursor.take(len(MAGIC)) != MAGIC:
        raise Malformed("no GGUF file")
    version = cursor.number("<I")
    if version not in VERSIONS:
        raise Malformed(f"version {version}, or written for big-endian machines; 2 and 3 are read")
    tensor_count, setting_count = cursor.number("<Q"), cursor.number("<Q")
    _refuse_many(tensor_count, min(MOST_TENSORS, len(data) // _FEWEST_TENSOR), "tensors")
    _refuse_many(setting_count, min(MOST_SETTINGS, len(data) // _FEWEST_SETTING), "settings")
    settings, places = dict[str, Any](), dict[str, tuple[int, str]]()
    for _ in range(setting_count):
        name, kind = cursor.text(), cursor.number("<I")
        if kind in _NUMBERS:
            places[name] = cursor.position, _NUMBERS[kind]
        settings[name] = _value(cursor, kind)
    infos_start = cursor.position
    infos = [_tensor(cursor) for _ in range(tensor_count)]
    alignment = settings.get("general.alignment", ALIGNMENT)
    start = _aligned(cursor.position, alignment)
    if len({info.name for info in infos}) < tensor_count:
        raise Malformed("two tensors of one name")
    placed = tuple(info._replace(start=start + info.start) for info in infos)
    return Header(settings, placed, places, infos_start, alignment)


def _refuse_many(count: int, most: int, what: str) -> None:
    if count > most:
        raise Malformed(f"{count} {what}, more than it can hold")


def _value(cursor: _Cursor, kind: int) -> Any:
    if kind in _NUMBERS:
        return cursor.number(_NUMBERS[kind])
    if kind == _TEXT:
        return cursor.text()
    if kind != _LIST:
        raise Malformed(f"a setting of the unknown type {kind}")
    return _list(cursor, cursor.number("<I"), cursor.number("<Q"))


def _list(cursor: _Cursor, kind: int, count: int) -> list[Any] | None:
    """A short list of numbers or texts; a long one is passed over, and lists of lists are none."""
    if kind in _NUMBERS:
        if count <= LONGEST_KEPT:
            return [cursor.number(_NUMBERS[kind]) for _ in range(count)]
        cursor.skip(count * struct.calcsize(_NUMBERS[kind]))
        return None
    if kind != _TEXT:
        raise Malformed(f"a list of the unknown type {kind}")
    for _ in range(count):
        cursor.skip(cursor.number("<Q"))
    return None


def _tensor(cursor: _Cursor) -> TensorInfo:
    name, axes = cursor.text(), cursor.number("<I")
    if axes > MOST_AXES:
        raise Malformed(f"{axes} axes of {name!r}")
    sides = struct.unpack(f"<{axes}Q", cursor.take(8 * axes))
    return TensorInfo(name, sides[::-1], cursor.number("<I"), cursor.number("<Q"))


def _aligned(position: int, alignment: Any) -> int:
    if type(alignment) is not int or not 0 < alignment <= 1 << 20:
        raise Malformed(f"an alignment of {alignment!r}")
    return -(-position // alignment) * alignment
