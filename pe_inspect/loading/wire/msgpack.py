"""MessagePack by its wire format: values, and long byte strings as places.

The msgpack package makes all of a file anew in memory; here what is long stays where it lies.
Source: msgpack/msgpack, spec.md.
"""

from __future__ import annotations

import struct
from typing import Any, Final, NamedTuple

from pe_inspect.loading.wire.octets import Octets
from pe_inspect.loading.wire.protobuf import Malformed

__all__ = ["ByteString", "Extension", "unpacked"]

DEEPEST: Final = 48
LONGEST_TEXT: Final = 1 << 16
MOST_VALUES: Final = 1 << 20


class ByteString(NamedTuple):
    """A byte string: where it begins and ends."""

    start: int
    stop: int


class Extension(NamedTuple):
    """A value of an application's own type: its number, and where its bytes lie."""

    code: int
    start: int
    stop: int


_NUMBERS: Final = {
    0xCA: ">f", 0xCB: ">d", 0xCC: ">B", 0xCD: ">H", 0xCE: ">I", 0xCF: ">Q", 0xD0: ">b",
    0xD1: ">h", 0xD2: ">i", 0xD3: ">q",
}  # fmt: skip
_CONSTANTS: Final = {0xC0: None, 0xC2: False, 0xC3: True}
# first byte → what it is, and the bytes of its length
_LENGTHS: Final = {
    0xC4: ("bytes", 1), 0xC5: ("bytes", 2), 0xC6: ("bytes", 4), 0xC7: ("extension", 1),
    0xC8: ("extension", 2), 0xC9: ("extension", 4), 0xD9: ("text", 1), 0xDA: ("text", 2),
    0xDB: ("text", 4), 0xDC: ("list", 2), 0xDD: ("list", 4), 0xDE: ("map", 2), 0xDF: ("map", 4),
}  # fmt: skip
_FIXED_EXTENSIONS: Final = {0xD4: 1, 0xD5: 2, 0xD6: 4, 0xD7: 8, 0xD8: 16}


def unpacked(data: Octets, start: int = 0, stop: int | None = None) -> Any:
    """Return the one value that fills `data[start:stop]`: dicts, lists, scalars, places.

    Raises:
        Malformed: it is truncated, nested too deeply, or not one value.
    """
    reader = _Reader(data, start, len(data) if stop is None else stop)
    value = reader.value(0)
    if reader.position != reader.stop:
        raise Malformed(f"more bytes after the end, at byte {reader.position}")
    return value


class _Reader:
    def __init__(self, data: Octets, start: int, stop: int) -> None:
        self.data, self.position, self.stop = data, start, stop
        self.left = MOST_VALUES

    def value(self, depth: int) -> Any:
        self.left -= 1
        if depth > DEEPEST or self.left < 0:
            raise Malformed("nested too deeply, or of too many values")
        first = self._pass(1)
        byte = self.data[first]
        if byte < 0x80 or byte >= 0xE0:
            return byte if byte < 0x80 else byte - 256
        if byte in _CONSTANTS:
            return _CONSTANTS[byte]
        if byte in _NUMBERS:
            return self._number(_NUMBERS[byte])
        return self._long(*self._kind(byte), depth)

    def _kind(self, byte: int) -> tuple[str, int]:
        """What a value is, and how long: bytes of it, or parts."""
        if byte < 0xC0:
            kind = "map" if byte < 0x90 else "list" if byte < 0xA0 else "text"
            return kind, byte & (0x1F if kind == "text" else 0x0F)
        if byte in _FIXED_EXTENSIONS:
            return "extension", _FIXED_EXTENSIONS[byte]
        if byte not in _LENGTHS:
            raise Malformed(f"a byte that begins no value ({byte:#x})")
        kind, size = _LENGTHS[byte]
        start = self._pass(size)
        return kind, int.from_bytes(self.data[start : start + size], "big")

    def _long(self, kind: str, length: int, depth: int) -> Any:
        if kind == "list":
            return [self.value(depth + 1) for _ in range(self._possible(length))]
        if kind == "map":
            pairs = range(self._possible(2 * length) // 2)
            return {self._key(depth): self.value(depth + 1) for _ in pairs}
        code = struct.unpack("b", self._bytes(1))[0] if kind == "extension" else 0
        start = self._pass(length)
        if kind == "text":
            return self._text(start, length)
        return (
            ByteString(start, start + length)
            if kind == "bytes"
            else Extension(code, start, start + length)
        )

    def _key(self, depth: int) -> str:
        key = self.value(depth + 1)
        if not isinstance(key, str | int):
            raise Malformed("a key that is no text")
        return str(key)

    def _possible(self, parts: int) -> int:
        """Refuse more parts than there are bytes left."""
        if parts > self.stop - self.position:
            raise Malformed(f"{parts} parts in {self.stop - self.position} bytes")
        return parts

    def _text(self, start: int, length: int) -> str:
        stop = start + min(length, LONGEST_TEXT)
        return self.data[start:stop].decode("utf-8", "replace")

    def _number(self, form: str) -> Any:
        return struct.unpack(form, self._bytes(struct.calcsize(form)))[0]

    def _bytes(self, count: int) -> bytes:
        start = self._pass(count)
        return self.data[start : start + count]

    def _pass(self, count: int) -> int:
        start = self.position
        self.position += count
        if self.position > self.stop:
            raise Malformed(f"it ends within a value, at byte {start}")
        return start
