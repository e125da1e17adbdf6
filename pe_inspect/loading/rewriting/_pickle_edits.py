"""Other shapes and storages for some tensors of a pickle; every other byte stays as it is."""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from pe_inspect.errors import UsageError
from pe_inspect.loading.encoding import encode
from pe_inspect.loading.rewriting import TensorEdit
from pe_inspect.loading.rewriting._pickle_walk import Item, TensorCall, Walk, walk
from pe_inspect.loading.tensor_bytes import c_strides

__all__ = ["EditedPickle", "edited"]

FRAME_BYTES = 9


@dataclass
class EditedPickle:
    """A pickle, and the storages that it needs anew.

    Attributes:
        content: the whole pickle.
        storages: key → the storage's bytes; of keys that the archive has, or of new ones.
        counts: key → its elements.
    """

    content: bytes
    storages: dict[str, bytes] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)


def edited(
    pickled: bytes, edits: Sequence[TensorEdit], *, big_endian: bool = False
) -> EditedPickle:
    """Put edits into a pickle of `torch.save`.

    Raises:
        UsageError: an edit's tensor is not told apart in the pickle.
    """
    found = walk(pickled)
    by_place = _by_place(edits)
    calls = [(call, by_place.get((call.key, call.start, call.shape))) for call in found.tensors]
    _check_found(list(by_place.values()), [edit for _, edit in calls])
    keys = _storage_keys(found, calls)
    made = EditedPickle(pickled)
    changes: list[tuple[int, int, bytes]] = [(at, at + FRAME_BYTES, b"") for at in found.frames]
    done: set[int] = set()
    for call, edit in calls:
        if edit is None:
            continue
        key = keys[id(edit), call.key]
        made.storages[key] = encode(edit.values, edit.tensor.dtype, big_endian=big_endian)
        made.counts[key] = edit.values.size
        changes += _shape_changes(call, edit)
        if id(call.storage) not in done:
            done.add(id(call.storage))
            changes += _storage_changes(call, key, edit.values.size)
    changes += _keys_kept(found, {id(c.storage) for c, e in calls if e is not None}, keys)
    made.content = _applied(pickled, changes)
    return made


def _by_place(edits: Sequence[TensorEdit]) -> dict[tuple[str, int, tuple[int, ...]], TensorEdit]:
    """One edit a place: tensors that share theirs are one in the file, and stay one.

    Raises:
        UsageError: they would become several that differ.
    """
    found: dict[tuple[str, int, tuple[int, ...]], TensorEdit] = {}
    for edit in edits:
        first = found.setdefault(_place_in_storage(edit), edit)
        if not np.array_equal(first.values, edit.values, equal_nan=True):
            raise UsageError(
                f"{first.tensor.key} and {edit.tensor.key} are one tensor in the file, and would "
                "become two that differ. Save the state dict with a clone() of each, and give that."
            )
    return found


def _place_in_storage(edit: TensorEdit) -> tuple[str, int, tuple[int, ...]]:
    """Which storage an edit's tensor lies in, from which element on, and its shape."""
    identity = edit.tensor.storage
    if not (isinstance(identity, tuple) and len(identity) == 3 and isinstance(identity[0], tuple)):
        raise UsageError(
            f"{edit.tensor.key} was not read from its storage alone (--trust-pickle, or a slice), "
            "so that it cannot be replaced in place. Save the state dict by itself first: "
            "torch.save(state_dict, 'weights.pth')."
        )
    (_, key), start, _ = identity
    return str(key), int(start), edit.tensor.shape


def _check_found(edits: Sequence[TensorEdit], found: Sequence[TensorEdit | None]) -> None:
    missing = [edit.tensor.key for edit in edits if edit not in found]
    if missing:
        raise UsageError(
            f"{missing[0]} is in the file, and its pickle does not describe it as torch.save does. "
            "Save the state dict anew with torch.save and give that."
        )


def _storage_keys(
    found: Walk, calls: Sequence[tuple[TensorCall, TensorEdit | None]]
) -> dict[tuple[int, str], str]:
    """Return (edit, old key) → key: the old one, or a new one where others need the old numbers."""
    references = Counter(str(item.parts[2].value) for item in found.storages)
    taken = set(references)
    own: dict[str, set[int]] = {}
    used: Counter[str] = Counter()
    for call, edit in calls:
        if edit is not None:
            own.setdefault(call.key, set()).add(id(edit))
            used[call.key] += call.storage.made is None
    keys: dict[tuple[int, str], str] = {}
    for key, wanted in own.items():
        is_alone = len(wanted) == 1 and used[key] == references[key]
        for name in wanted:
            keys[name, key] = key if is_alone else _free(taken)
            taken.add(keys[name, key])
    return keys


def _free(taken: set[str]) -> str:
    largest = max((int(key) for key in taken if key.isdecimal()), default=0)
    return str(largest + 1)


def _shape_changes(call: TensorCall, edit: TensorEdit) -> Iterator[tuple[int, int, bytes]]:
    """The start within the storage, the sides, and the strides of C order."""
    shape = edit.values.shape
    for item, content in (
        (call.parts[1], _integer(0)),
        (call.parts[2], _tuple(shape)),
        (call.parts[3], _tuple(c_strides(shape))),
    ):
        yield _instead(item, content)


def _storage_changes(call: TensorCall, key: str, count: int) -> Iterator[tuple[int, int, bytes]]:
    """The count, and the key where it is another one.

    Raises:
        UsageError: two tensors share the reference itself, and only one is replaced.
    """
    storage = call.storage
    if storage.made is not None or storage.was_fetched or len(storage.parts) < 5:
        raise UsageError(
            f"The storage {call.key!r} is written once for several tensors in this pickle. Save "
            "the file anew with torch.save, and give that."
        )
    yield _instead(storage.parts[4], _integer(count))
    if len(storage.parts) > 5 and storage.parts[5].kind == "tuple":
        yield _instead(storage.parts[5], b"N")
    if key != call.key:
        yield storage.parts[2].begin, storage.parts[2].end, _text(key)


def _keys_kept(
    found: Walk, edited_storages: set[int], keys: dict[tuple[int, str], str]
) -> Iterator[tuple[int, int, bytes]]:
    """Spell the key out where another reference fetches it from one that is changed."""
    renamed = {old for (_, old), new in keys.items() if old != new}
    for storage in found.storages:
        key = storage.parts[2]
        if id(storage) not in edited_storages and key.made and str(key.value) in renamed:
            yield key.begin, key.end, _text(str(key.value))


def _instead(item: Item, content: bytes) -> tuple[int, int, bytes]:
    if item.made is None and item.was_fetched and item.kind == "tuple" and item.parts:
        raise UsageError(
            "Two tensors of this pickle share the tuple of their sides, which torch.save never "
            "writes. Save the file anew with torch.save, and give that."
        )
    return item.begin, item.end, content


def _applied(pickled: bytes, changes: Sequence[tuple[int, int, bytes]]) -> bytes:
    parts, position = [], 0
    for begin, end, content in sorted(set(changes)):
        parts += [pickled[position:begin], content]
        position = end
    return b"".join([*parts, pickled[position:]])


def _integer(value: int) -> bytes:
    """BININT1, BININT2, BININT or LONG1, the shortest that holds it."""
    if value < 1 << 8:
        return b"K" + bytes([value])
    if value < 1 << 16:
        return b"M" + struct.pack("<H", value)
    if value < 1 << 31:
        return b"J" + struct.pack("<i", value)
    size = value.bit_length() // 8 + 1
    return b"\x8a" + bytes([size]) + value.to_bytes(size, "little")


def _tuple(values: Sequence[int]) -> bytes:
    content = b"".join(map(_integer, values))
    if len(values) > 3:
        return b"(" + content + b"t"
    return content + (b")", b"\x85", b"\x86", b"\x87")[len(values)]


def _text(value: str) -> bytes:
    content = value.encode()
    return b"X" + struct.pack("<I", len(content)) + content
