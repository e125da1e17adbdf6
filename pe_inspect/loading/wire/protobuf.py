"""Protocol buffers by their wire format: the fields of a message, payloads left where they lie.

Source: protobuf.dev, "Encoding". A message is tags and values one after the other; what a field
means only its reader knows. Nothing here descends by itself, so that no nesting is too deep.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

import numpy as np

from pe_inspect.arrays import Num
from pe_inspect.loading.wire.octets import Octets

__all__ = [
    "BYTES",
    "FOUR",
    "VARINT",
    "Malformed",
    "WireField",
    "fields",
    "signed",
    "text",
    "varints",
]

VARINT: Final = 0
EIGHT: Final = 1
BYTES: Final = 2
FOUR: Final = 5
LONGEST_VARINT: Final = 10
LONGEST_TEXT: Final = 1 << 16


class Malformed(ValueError):
    """Bytes that are no message."""


class WireField(NamedTuple):
    """One field of a message.

    Attributes:
        number: which one.
        wire: how it is written: `VARINT`, `BYTES`, or four or eight bytes.
        value: the number; of a payload its length.
        start: where the value or the payload begins.
        stop: where it ends.
    """

    number: int
    wire: int
    value: int
    start: int
    stop: int


def fields(data: Octets, start: int = 0, stop: int | None = None) -> Iterator[WireField]:
    """Yield the fields of the message that lies in `data[start:stop]`.

    Raises:
        Malformed: it is none, or reaches beyond its end.
    """
    end = len(data) if stop is None else stop
    position = start
    while position < end:
        tag, position = _varint(data, position, end)
        number, wire = tag >> 3, tag & 7
        begin, value = position, 0
        if wire == VARINT:
            value, position = _varint(data, position, end)
        elif wire == BYTES:
            value, begin = _varint(data, position, end)
            position = begin + value
        elif wire in (EIGHT, FOUR):
            position += 8 if wire == EIGHT else 4
            value = int.from_bytes(data[begin:position], "little")
        else:
            raise Malformed(f"no field is written as {wire} (byte {position})")
        if position > end or not number:
            raise Malformed(f"field {number} at byte {begin} reaches beyond its message")
        yield WireField(number, wire, value, begin, position)


def _varint(data: Octets, position: int, end: int) -> tuple[int, int]:
    """Seven bits a byte, the lowest first; the eighth says that more follow."""
    value = shift = 0
    while position < end and shift < 7 * LONGEST_VARINT:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
    raise Malformed(f"a number does not end (byte {position})")


def signed(value: int) -> int:
    """Return a varint as the signed number of 64 bits that it stands for."""
    low = value & (1 << 64) - 1
    return low - (1 << 64) if low >> 63 else low


def text(data: Octets, field: WireField) -> str:
    """Return a payload as text, what is no UTF-8 replaced.

    Raises:
        Malformed: it is no payload, or longer than a name ever is.
    """
    if field.wire != BYTES or field.value > LONGEST_TEXT:
        raise Malformed(f"a name of {field.value} bytes (byte {field.start})")
    return data[field.start : field.stop].decode("utf-8", "replace")


def varints(content: bytes) -> Num[np.ndarray, " n"]:
    """Return the signed numbers of a packed field.

    Raises:
        Malformed: the last one does not end, or one is longer than 64 bits.
    """
    octets = np.frombuffer(content, np.uint8)
    is_last = octets < 0x80
    ends = np.flatnonzero(is_last)
    if octets.size and (not ends.size or ends[-1] != octets.size - 1):
        raise Malformed("the last number does not end")
    starts = np.concatenate([[0], ends[:-1] + 1]) if ends.size else ends
    lengths = ends - starts + 1
    if lengths.size and lengths.max() > LONGEST_VARINT:
        raise Malformed("a number of more than 64 bits")
    values = np.zeros(ends.size, np.uint64)
    for place in range(int(lengths.max(initial=0))):
        has = lengths > place
        bits = (octets[starts[has] + place] & 0x7F).astype(np.uint64)
        values[has] |= bits << np.uint64(7 * place)
    return values.view(np.int64)
