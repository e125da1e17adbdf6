"""`.safetensors`: a JSON header, then bytes. Also `.pe.safetensors`, our saved extractions.

The header is parsed here because the library's numpy reader has no bfloat16 and no float8.
Source: the format's description at huggingface/safetensors, README.md, "Format".
"""

from __future__ import annotations

import math
import re
from collections import Counter
from functools import cache, lru_cache, partial
from typing import Any, Final

from pe_inspect.bounded import MOST_AXES, parsed_json
from pe_inspect.errors import UnreadableCheckpoint, printable, reason
from pe_inspect.loading.byte_source import ByteSource
from pe_inspect.loading.checkpoint import StoredTensor
from pe_inspect.loading.dtypes import is_known, itemsize
from pe_inspect.loading.formats import Contents, SourceFile, damaged, reads
from pe_inspect.loading.tensor_bytes import (
    Span,
    lazy_tensor,
    unreadable_tensor,
    whole_tensor,
)

LARGEST_NUMBER: Final = 1 << 63
MLX: Final = "written by MLX, which keeps channels last: kernels of convolutions are (D, h, w, C)"
LONGEST_HEADER: Final = 100_000_000  # the library's own limit

_DTYPES: Final = {
    "BOOL": "bool",
    "U8": "uint8",
    "I8": "int8",
    "U16": "uint16",
    "I16": "int16",
    "U32": "uint32",
    "I32": "int32",
    "U64": "uint64",
    "I64": "int64",
    "F16": "float16",
    "BF16": "bfloat16",
    "F32": "float32",
    "F64": "float64",
    "C64": "complex64",
    "C128": "complex128",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2",
    "F8_E4M3FNUZ": "float8_e4m3fnuz",
    "F8_E5M2FNUZ": "float8_e5m2fnuz",
    "F8_E8M0": "float8_e8m0fnu",
}


def is_safetensors(file: SourceFile) -> bool:
    """Eight bytes of header length, then the header's opening brace; no text, and no pickle.

    A length of 640, 896, 1152, … bytes begins as a pickle does. Its four high bytes are 0, which
    no pickle has ahead of a brace: neither is an opcode.
    """
    is_text = re.match(rb"[\t\n\r -~]{8}", file.head) is not None
    is_pickle = re.match(rb"\x80[\x02-\x05](?!..\0{4})", file.head, re.DOTALL) is not None
    return file.head[8:9] == b"{" and not is_text and not is_pickle


@reads("safetensors", name="safetensors", suffixes=(".safetensors",), when=is_safetensors)
def read_safetensors(file: SourceFile) -> Contents:
    """Read the header, and check every word of it before believing it.

    Raises:
        UnreadableCheckpoint: the file is truncated, or its header lies about its content.
    """
    header, data = read_header(file)
    metadata = header.pop("__metadata__", None) or {}
    if not isinstance(metadata, dict):
        raise damaged(file, "has a __metadata__ that is no dictionary")
    source = file.source
    tensors = {key: _tensor(source, key, entry, data) for key, entry in header.items()}
    _check_layout(file, header, data)
    word = "pe" if _is_extraction(metadata) else "safetensors"
    notes = (MLX,) if metadata.get("format") == "mlx" else ()
    return Contents(tensors, file.source, metadata, notes, format=word)


def _is_extraction(metadata: dict[str, Any]) -> bool:
    """Whether this is a saved extraction; what our trainer goes on from has a word of ours too."""
    try:
        about = parsed_json(metadata.get("pe_inspect", "{}"))
    except (ValueError, TypeError):
        return True  # a damaged one: its reader says what is wrong
    return "pe_inspect" in metadata and not (isinstance(about, dict) and "recipe" in about)


def read_header(file: SourceFile) -> tuple[dict[str, Any], Span]:
    """Return the header as it is, `__metadata__` included, and where the data lie.

    Raises:
        UnreadableCheckpoint: the file is truncated, or its header is no JSON.
    """
    length = int.from_bytes(file.head[:8], "little")
    if length > min(file.size - 8, LONGEST_HEADER):
        raise damaged(
            file,
            f"is truncated or no safetensors file: its header claims {length} bytes, the file has "
            f"{file.size}",
        )
    with file.source.open() as stream:
        stream.seek(8)
        text = stream.read(length)
    try:
        header = _parsed(text)
    except ValueError as error:
        raise damaged(
            file, f"has a safetensors header that is no JSON ({reason(error)})"
        ) from error
    return header, Span(file.source, 8 + length, file.size - 8 - length)


def _parsed(text: bytes) -> Any:
    """Parse a header; a name that is there twice leaves more quotation marks than were parsed."""
    parse = partial(parsed_json, text, largest=LONGEST_HEADER, whole=int)
    header = parse()
    is_plain = b"\\" not in text and text.count(b'"') == _quotes(header)
    return header if is_plain else parse(pairs=_without_duplicates)


def _quotes(header: Any) -> int | None:
    """Return the quotation marks of an ordinary header: ten a tensor, four an item of metadata."""
    if not isinstance(header, dict):
        return None
    metadata = header.get("__metadata__")
    about = 2 + 4 * len(metadata) if isinstance(metadata, dict) else 0
    return about + 10 * (len(header) - ("__metadata__" in header))


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        twice = Counter(key for key, _ in pairs).most_common(1)[0][0]
        raise ValueError(f"{printable(twice)!r} is named twice")
    return found


def _tensor(source: ByteSource, key: str, entry: Any, data: Span) -> StoredTensor:
    code, shape, begin, end = _fields(source, key, entry)
    if not begin <= end <= data.nbytes:
        raise damaged(source, f"is truncated or damaged: {key} ends at byte {end} of {data.nbytes}")
    dtype, size = _type_of(code)
    if not size:
        return unreadable_tensor(shape, dtype, f"numbers of type {code}").named(key)
    if math.prod(shape) * size != end - begin:
        raise damaged(
            source,
            f"has a header that lies: {key} is {code} of shape {list(shape)}, "
            f"which is not {end - begin} bytes",
        )
    if 0 not in shape and len(shape) < MOST_AXES:
        return whole_tensor(source, data.offset + begin, dtype, shape, key)
    span = Span(source, data.offset + begin, end - begin)
    try:
        return lazy_tensor(span, dtype, shape).named(key)
    except UnreadableCheckpoint as error:
        raise damaged(source, f"has a header that lies: {key} has {error}") from error


@cache
def _type_of(code: str) -> tuple[str, int]:
    """Return the name of a type and the bytes of a number; 0 of a type that cannot be read."""
    dtype = _DTYPES.get(code, code.lower())
    return dtype, itemsize(dtype) if is_known(dtype) else 0


def _fields(source: object, key: str, entry: Any) -> tuple[str, tuple[int, ...], int, int]:
    try:
        code, shape, (begin, end) = entry["dtype"], entry["shape"], entry["data_offsets"]
        is_placed = type(begin) is int is type(end) and min(begin, end) >= 0
        is_sane = isinstance(code, str) and is_placed and max(begin, end) < LARGEST_NUMBER
        is_sane = is_sane and len(shape) <= MOST_AXES and _is_shape(*shape)
    except (KeyError, TypeError, ValueError):
        is_sane = False
    if not is_sane:
        raise damaged(source, f"has a header that makes no sense for {printable(key)!r}")
    return code, tuple(shape), begin, end


@lru_cache(maxsize=1 << 12, typed=True)
def _is_shape(*sides: Any) -> bool:
    """Whether numbers of JSON are the sides of an array; of a file's tensors most are alike."""
    return all(type(side) is int and 0 <= side < LARGEST_NUMBER for side in sides)


def _check_layout(source: object, header: dict[str, Any], data: Span) -> None:
    """The tensors must tile the data: no overlap, no hole, nothing after the last."""
    position = 0
    for begin, end, key in sorted((*entry["data_offsets"], key) for key, entry in header.items()):
        if begin != position:
            kind = (
                "overlaps the tensor before it" if begin < position else "leaves a hole before it"
            )
            raise damaged(source, f"has a header that lies: {key} {kind}")
        position = end
    if position != data.nbytes:
        raise damaged(
            source, f"holds {data.nbytes - position} bytes after the last tensor of its header"
        )
