"""Texts that HDF5 keeps as attributes, read here: its library never ends on some damaged heaps.

Source: the HDF5 File Format Specification 3.0, IV.A.1.a (object headers, version 1), IV.A.2.m
(attribute messages) and III.E (global heaps).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from pe_inspect.loading.wire.octets import Octets

__all__ = ["text_attribute"]

MOST_MESSAGES: Final = 256
MOST_OBJECTS: Final = 4096
LONGEST: Final = 1 << 12
_ATTRIBUTE, _CONTINUATION = 0x0C, 0x10
_VARIABLE: Final = 9  # the class of types whose numbers lie in a heap
_HEAD: Final = 16  # of an object header, of a heap, and of an object in it


def text_attribute(data: Octets, address: int, wanted: str) -> str:
    """Return an object's attribute of a name, where it is a text; else nothing.

    Args:
        data: the file.
        address: of the object's header.
        wanted: the attribute's name.
    """
    for start, size in _messages(data, address):
        found = _attribute(data[start : start + size], wanted)
        if found is not None:
            return _text_in_heap(data, *found)
    return ""


def _number(content: bytes) -> int:
    return int.from_bytes(content, "little")


def _messages(data: Octets, address: int) -> Iterator[tuple[int, int]]:
    """Where the attribute messages of a header lie, those of its continuations too."""
    if data[address : address + 1] != b"\1":
        return
    blocks = [(address + _HEAD, _number(data[address + 8 : address + 12]))]
    left = MOST_MESSAGES
    while blocks and left:
        position, length = blocks.pop()
        stop = min(position + length, len(data))
        while position + 8 <= stop and left:
            head = data[position : position + 8]
            kind, size, start = _number(head[:2]), _number(head[2:4]), position + 8
            if kind == _ATTRIBUTE:
                yield start, size
            elif kind == _CONTINUATION:
                where = data[start : start + 16]
                blocks.append((_number(where[:8]), _number(where[8:])))
            position, left = start + size, left - 1


def _attribute(message: bytes, wanted: str) -> tuple[int, int, int] | None:
    """The length, heap and place of a text, if it is the attribute that is wanted."""
    version = message[0] if message else 0
    sizes = [_number(message[at : at + 2]) for at in (2, 4, 6)]
    if version == 1:
        sizes = [-(-size // 8) * 8 for size in sizes]
    start = 9 if version == 3 else 8
    name, kind, value = start, start + sizes[0], start + sum(sizes)
    is_it = message[name:kind].rstrip(b"\0") == wanted.encode()
    if version not in (1, 2, 3) or not is_it or len(message) < value + 16:
        return None
    if message[kind] & 0x0F != _VARIABLE:
        return None
    said = message[value : value + 16]
    return _number(said[:4]), _number(said[4:12]), _number(said[12:])


def _text_in_heap(data: Octets, length: int, address: int, wanted: int) -> str:
    """Walk a heap's objects; each is at least as long as its head."""
    head = data[address : address + _HEAD]
    if not head.startswith(b"GCOL") or length > LONGEST:
        return ""
    position, stop = address + _HEAD, min(address + _number(head[8:]), len(data))
    for _ in range(MOST_OBJECTS):
        said = data[position : position + _HEAD]
        if len(said) < _HEAD or position >= stop or not _number(said[:2]):
            return ""
        if _number(said[:2]) == wanted:
            text = data[position + _HEAD : position + _HEAD + min(length, _number(said[8:]))]
            return text.decode("utf-8", "replace")
        position += _HEAD + -(-_number(said[8:]) // 8) * 8
    return ""
