"""`.npy`: one array without a name."""

from __future__ import annotations

from typing import IO

import numpy as np

from pe_inspect.errors import UnreadableCheckpoint, reason
from pe_inspect.loading.checkpoint import StoredTensor
from pe_inspect.loading.formats import Contents, SourceFile, damaged, reads
from pe_inspect.loading.tensor_bytes import Span, c_strides, lazy_tensor, unreadable_tensor

__all__ = ["ONLY_NAME", "array_header", "lazy_array", "read_npy"]

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
        shape, is_fortran, dtype = array_header(stream, str(file))
        start = stream.tell()
    span = Span(file.source, start, file.size - start)
    tensor = lazy_array(span, shape, is_fortran, dtype, str(file)).named(ONLY_NAME)
    note = f"a .npy file holds one array without a name; it is taken for {ONLY_NAME}"
    return Contents({ONLY_NAME: tensor}, file.source, notes=(note,))


def array_header(stream: IO[bytes], what: str) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Return shape, Fortran order and dtype; leave the stream at the first number.

    Raises:
        UnreadableCheckpoint: this is no array header, or the array holds Python objects.
    """
    from numpy.lib import format as npy

    try:
        version = npy.read_magic(stream)
        read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, is_fortran, dtype = read(stream)
    except Exception as error:  # numpy evaluates a stranger's text as a Python literal
        raise damaged(what, f"is truncated or damaged: {reason(error)}") from error
    if dtype.hasobject:
        raise UnreadableCheckpoint(
            f"{what} holds pickled Python objects, which could run code; expected an array of "
            "numbers. Save the numbers alone: numpy.save(path, array.astype('float32'))."
        )
    return shape, is_fortran, dtype


def lazy_array(
    span: Span, shape: tuple[int, ...], is_fortran: bool, dtype: np.dtype, what: str
) -> StoredTensor:
    """Return the array that lies in `span` as a tensor that is read on demand.

    Raises:
        UnreadableCheckpoint: the span holds fewer bytes than the header says.
    """
    if dtype.kind not in "biufc" and dtype.str != "|V2":
        return unreadable_tensor(shape, str(dtype), f"values of type {dtype}")
    name = "bfloat16" if dtype.str == "|V2" else dtype.name
    strides = c_strides(shape[::-1])[::-1] if is_fortran else None
    try:
        return lazy_tensor(span, name, shape, strides=strides, big_endian=dtype.byteorder == ">")
    except UnreadableCheckpoint as error:
        raise damaged(what, f"is truncated or damaged: {error}") from error
