"""Protocol buffers made by hand: (number, value) of whole numbers, texts, and messages as bytes."""

from __future__ import annotations

__all__ = ["message", "varint"]


def varint(value: int) -> bytes:
    """Return a number, seven bits a byte."""
    groups = []
    while value > 0x7F:
        groups.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*groups, value])


def message(*fields: tuple[int, int | str | bytes]) -> bytes:
    """Return the fields one after the other."""
    parts = []
    for number, value in fields:
        if isinstance(value, int):
            parts.append(varint(number << 3) + varint(value))
        else:
            payload = value.encode() if isinstance(value, str) else value
            parts.append(varint(number << 3 | 2) + varint(len(payload)) + payload)
    return b"".join(parts)
