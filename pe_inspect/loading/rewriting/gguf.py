"""GGUF files with some plain tensors replaced, and the settings of the tower's sizes with them.

llama.cpp asks the settings how many patches there are, and its towers are square: a table of
another number of rows is written with the image size that it stands for.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping, Sequence
from typing import IO, Any, Final

from pe_inspect.errors import UsageError
from pe_inspect.loading.dtypes import itemsize
from pe_inspect.loading.encoding import encode
from pe_inspect.loading.formats import SourceFile
from pe_inspect.loading.gguf.blocks import BLOCKS, NAMES, PLAIN
from pe_inspect.loading.gguf.header import Header, TensorInfo, read_header
from pe_inspect.loading.rewriting import TensorEdit, rewrites
from pe_inspect.loading.rewriting._streams import copy_range
from pe_inspect.loading.wire.octets import octets_of

__all__ = ["rewrite_gguf"]

TABLE: Final = "v.position_embd.weight"
KERNEL: Final = "v.patch_embd.weight"
IMAGE: Final = "clip.vision.image_size"
PATCH: Final = "clip.vision.patch_size"


@rewrites("gguf")
def rewrite_gguf(file: SourceFile, edits: Sequence[TensorEdit], out: IO[bytes]) -> None:
    """Copy the file; names, their order, other settings and all other numbers stay.

    Raises:
        UsageError: a tensor to replace is quantised, or its rows are no square of patches.
    """
    with octets_of(file.source) as data:
        header = read_header(data)
        head = bytearray(data[: header.infos_start])
    new = {edit.tensor.key: edit for edit in edits}
    infos = sorted(header.tensors, key=lambda info: info.start)
    contents = {info.name: _content(info, new[info.name]) for info in infos if info.name in new}
    shapes = {name: edit.values.shape for name, edit in new.items()}
    for name, value in _sizes(header, shapes).items():
        position, form = header.places[name]
        struct.pack_into(form, head, position, value)
    lengths = {i.name: len(contents.get(i.name, b"")) or _length(i, file.size) for i in infos}
    starts = _starts(infos, lengths, header.alignment)
    out.write(head)
    for info in header.tensors:
        out.write(_entry(info, shapes.get(info.name, info.shape), starts[info.name]))
    _pad(out, header.alignment)
    for info in infos:
        if info.name in contents:
            out.write(contents[info.name])
        else:
            copy_range(file.source, out, info.start, lengths[info.name])
        _pad(out, header.alignment)


def _content(info: TensorInfo, edit: TensorEdit) -> bytes:
    if info.kind not in PLAIN:
        kind = BLOCKS[info.kind].name if info.kind in BLOCKS else NAMES.get(info.kind, "")
        raise UsageError(
            f"{info.name} is quantised ({kind or info.kind}), and new numbers are not packed so. "
            "Write from the .safetensors that the file was made from, and convert that anew."
        )
    return encode(edit.values, PLAIN[info.kind])


def _length(info: TensorInfo, size: int) -> int:
    """Bytes of a tensor; of a type without a known size, all that is left would be a guess."""
    count = math.prod(info.shape)
    if info.kind in PLAIN:
        return count * itemsize(PLAIN[info.kind])
    if info.kind in BLOCKS:
        return count // BLOCKS[info.kind].numbers * BLOCKS[info.kind].nbytes
    raise UsageError(
        f"{info.name} is of {NAMES.get(info.kind, f'type {info.kind}')}, whose length is not known "
        f"here ({size} bytes in all). Write from the .safetensors that the file was made from."
    )


def _sizes(header: Header, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, int]:
    """The settings that new shapes change.

    Raises:
        UsageError: the new rows are no square of patches.
    """
    old = {info.name: info.shape for info in header.tensors}
    said = {name: header.settings.get(name) for name in (IMAGE, PATCH)}
    if TABLE not in shapes and KERNEL not in shapes:
        return {}
    if TABLE not in old or any(type(value) is not int for value in said.values()):
        return {}
    image, patch = _whole(said[IMAGE]), _whole(said[PATCH])
    prefix = old[TABLE][0] - (image // patch) ** 2
    rows = shapes.get(TABLE, old[TABLE])[0] - prefix
    if math.isqrt(max(rows, 0)) ** 2 != rows:
        raise UsageError(
            f"{TABLE} would have {rows} patch rows, which is no square; llama.cpp's towers know "
            "square images alone. Pass --res with one number."
        )
    side = shapes.get(KERNEL, (patch,))[-1]
    return {IMAGE: math.isqrt(rows) * side, PATCH: side}


def _whole(value: Any) -> int:
    return max(int(value), 1)


def _starts(infos: Sequence[TensorInfo], lengths: Mapping[str, int], align: int) -> dict[str, int]:
    starts, position = dict[str, int](), 0
    for info in infos:
        starts[info.name] = position
        position += -(-lengths[info.name] // align) * align
    return starts


def _entry(info: TensorInfo, shape: Sequence[int], start: int) -> bytes:
    name = info.name.encode()
    sides = struct.pack(f"<{len(shape)}Q", *reversed(shape))
    head = struct.pack("<Q", len(name)) + name + struct.pack("<I", len(shape))
    return head + sides + struct.pack("<IQ", info.kind, start)


def _pad(out: IO[bytes], alignment: int) -> None:
    out.write(bytes(-out.tell() % alignment))
