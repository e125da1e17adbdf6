"""`.npy`: one array without a name."""

from __future__ import annotations

import re
from typing import IO, Any, Final, NamedTuple

import numpy as np

from pe_inspect.bounded import MOST_AXES, shown_shape, typed
from pe_inspect.errors import UnreadableCheckpoint, reason
from pe_inspect.loading.checkpoint import StoredTensor
from pe_inspect.loading.formats import Contents, SourceFile, damaged, reads
from pe_inspect.loading.tensor_bytes import Span, c_strides, lazy_tensor, unreadable_tensor

__all__ = ["ONLY_NAME", "array_header", "lazy_array", "read_npy"]

LONGEST_HEADER: Final = 10_000  # numpy's own limit
_PLAIN_TYPE: Final = re.compile(r"[<>|=]?([?biufcOSUV][0-9]{0,9}|[mM]8(\[[a-zA-Z]+\])?)")
ONLY_NAME = "pos_embed"
"""What a lone array is taken for."""


def is_npy(file: SourceFile) -> bool:
    """The format's magic."""
    return file.head.startswith(b"\x93NUMPY")


@reads("npy", name="npy", suffixes=(".npy",), when=is_npy)
def read_npy(file: SourceFile) -> Contents:
    """Read the header.

    Raises:
        UnreadableCheckpoint: the file is truncated, or holds Python objects.
    """
    with file.source.open() as stream:
        header = array_header(stream, str(file))
        start = stream.tell()
    span = Span(file.source, start, file.size - start)
    tensor = lazy_array(span, header, str(file)).named(ONLY_NAME)
    note = f"a .npy file holds one array without a name; it is taken for {ONLY_NAME}"
    return Contents({ONLY_NAME: tensor}, file.source, notes=(note,))


class ArrayHeader(NamedTuple):
    """What an array's header says.

    Attributes:
        shape: sides.
        is_fortran: whether the first index varies fastest.
        dtype: of the numbers; `None` for records, and whatever else has several parts.
    """

    shape: tuple[int, ...]
    is_fortran: bool
    dtype: np.dtype | None


def array_header(stream: IO[bytes], what: str) -> ArrayHeader:
    """Return shape, Fortran order and dtype; leave the stream at the first number.

    Raises:
        UnreadableCheckpoint: this is no array header, or the array holds Python objects.
    """
    try:
        said = _literal(_header_text(stream))
        shape, is_fortran, code = (said[name] for name in ("shape", "fortran_order", "descr"))
        header = ArrayHeader(typed(shape, tuple[int, ...]), typed(is_fortran, bool), _dtype(code))
        if len(header.shape) > MOST_AXES or min(header.shape, default=0) < 0:
            raise ValueError(f"{shown_shape(header.shape)} is no shape")
    except Exception as error:  # a stranger's text, read as a Python literal
        raise damaged(what, f"is truncated or damaged: {reason(error)}") from error
    if header.dtype is not None and header.dtype.hasobject:
        raise UnreadableCheckpoint(
            f"{what} holds pickled Python objects, which could run code; expected an array of "
            "numbers. Save the numbers alone: numpy.save(path, array.astype('float32'))."
        )
    return header


def _header_text(stream: IO[bytes]) -> str:
    """Read the magic, the version, the length, and so many bytes: a few hundred.

    Source: numpy.lib.format, "Format Version 1.0", "2.0" and "3.0".
    """
    start = stream.read(8)
    width = 2 if start[6:7] == b"\x01" else 4
    length = int.from_bytes(stream.read(width), "little")
    if not start.startswith(b"\x93NUMPY") or start[6:7] not in (b"\x01", b"\x02", b"\x03"):
        raise ValueError("no array starts here")
    if length > LONGEST_HEADER:
        raise ValueError(f"its header claims {length:,} bytes")
    text = stream.read(length)
    if len(text) < length:
        raise ValueError(f"its header ends {length - len(text)} bytes early")
    return text.decode("utf-8" if start[6:7] == b"\x03" else "latin-1")


def _literal(text: str) -> Any:
    """Return what a Python literal says, without its warnings, which would show a line of ours."""
    import ast
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return ast.literal_eval(re.sub(r"(?<=[0-9])L\b", "", text))  # Python 2 wrote 3L
        except (ValueError, SyntaxError, RecursionError, MemoryError) as error:
            raise ValueError("its header is no literal of Python") from error


def _dtype(code: Any) -> np.dtype | None:
    """Return the type of plain numbers, or of objects; `None` for a type of several parts."""
    if isinstance(code, str) and _PLAIN_TYPE.fullmatch(code):
        return np.dtype(code)
    return np.dtype(object) if re.search(r"'[<>|=]?O'", repr(code)) else None


def lazy_array(span: Span, header: ArrayHeader, what: str) -> StoredTensor:
    """Return the array that lies in `span` as a tensor that is read on demand.

    Raises:
        UnreadableCheckpoint: the span holds fewer bytes than the header says.
    """
    shape, is_fortran, dtype = header
    if dtype is None or (dtype.kind not in "biufc" and dtype.str != "|V2"):
        word = "record" if dtype is None else str(dtype)
        return unreadable_tensor(shape, word, f"values of type {word}")
    name = "bfloat16" if dtype.str == "|V2" else dtype.name
    strides = c_strides(shape[::-1])[::-1] if is_fortran else None
    try:
        return lazy_tensor(span, name, shape, strides=strides, big_endian=dtype.byteorder == ">")
    except UnreadableCheckpoint as error:
        raise damaged(what, f"is truncated or damaged: {error}") from error
