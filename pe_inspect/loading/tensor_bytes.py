"""Where a tensor's bytes lie, and how they are read when they are asked for."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from operator import mul
from typing import TYPE_CHECKING, Final

import numpy as np

from pe_inspect.arrays import Shaped
from pe_inspect.bounded import MOST_AXES, shown_shape
from pe_inspect.errors import UnreadableCheckpoint
from pe_inspect.loading.byte_source import ByteSource
from pe_inspect.loading.checkpoint import StoredTensor
from pe_inspect.loading.dtypes import decode, is_known, itemsize

if TYPE_CHECKING:
    from io import BufferedReader
    from zipfile import ZipInfo

__all__ = [
    "Span",
    "files_kept_open",
    "lazy_tensor",
    "member_span",
    "unreadable_tensor",
    "whole_tensor",
]

STORED: Final = 0
ENCRYPTED: Final = 1
LARGEST_EXPANSION: Final = 1 << 26
"""Bytes that a tensor may take beyond its storage (a stride of 0 repeats numbers for nothing)."""


@dataclass(frozen=True)
class Span:
    """A stretch of a file: plain bytes, or bytes of one member of a zip archive.

    Attributes:
        source: the file.
        offset: of the first byte; within the member where there is one.
        nbytes: how many bytes lie there.
        member: the name of a compressed zip member; empty for others.
        header: where the local header of a zip member that is not compressed starts. Its length
            is found when the bytes are read: on a server each look would be a request.
    """

    source: ByteSource
    offset: int
    nbytes: int
    member: str = ""
    header: int | None = None

    def read(self, start: int, count: int) -> bytearray:
        """Return `count` bytes from `start` on.

        Raises:
            UnreadableCheckpoint: the file has changed or cannot be read any more.
        """
        try:
            buffer = bytearray(count)
            got = self._read_into(buffer, self.offset + start)
        except MemoryError as error:
            raise UnreadableCheckpoint(
                f"{self.source}: a tensor of {count} bytes does not fit into memory."
            ) from error
        except EOFError:
            got = 0
        except (OSError, ValueError) as error:
            raise UnreadableCheckpoint(f"{self.source} cannot be read: {error}.") from error
        if got != count:
            raise UnreadableCheckpoint(
                f"{self.source} ends {count - got} bytes early; copy or download it again."
            )
        return buffer

    def _read_into(self, buffer: bytearray, position: int) -> int:
        if self.member:
            from pe_inspect.loading.zip_archive import read_member

            return read_member(self.source, self.member, position, buffer)
        if (kept := _kept_open(self.source)) is not None:
            return self._filled(kept, buffer, position)
        with self.source.open() as file:
            return self._filled(file, buffer, position)

    def _filled(self, file: BufferedReader, buffer: bytearray, position: int) -> int:
        file.seek(self._start(file) + position)
        return file.readinto(buffer)

    def _start(self, file: BufferedReader) -> int:
        if self.header is None:
            return 0
        from pe_inspect.loading.zip_archive import after_local_header

        return after_local_header(file, self.header)


def member_span(info: ZipInfo, source: ByteSource) -> Span:
    """Return where a member's bytes lie; a compressed one is named instead of placed.

    Raises:
        UnreadableCheckpoint: the member is encrypted, or reaches beyond the end of the file.
    """
    if info.flag_bits & ENCRYPTED:
        raise UnreadableCheckpoint(f"{source} is encrypted ({info.filename}); decrypt it first.")
    if info.compress_type != STORED:
        return Span(source, 0, info.file_size, member=info.filename)
    from pe_inspect.loading.zip_archive import LOCAL_HEADER

    end = info.header_offset + LOCAL_HEADER.size + len(info.filename) + info.file_size
    if end > source.size:
        raise UnreadableCheckpoint(
            f"{source} is truncated: {info.filename} ends {end} bytes in. "
            "Copy or download it again."
        )
    return Span(source, 0, info.file_size, header=info.header_offset)


def lazy_tensor(
    span: Span,
    dtype: str,
    shape: tuple[int, ...],
    *,
    strides: tuple[int, ...] | None = None,
    start: int = 0,
    big_endian: bool = False,
    storage: Hashable = None,
) -> StoredTensor:
    """Return a tensor that reads its part of `span` when it is asked for.

    Args:
        span: the bytes of the whole storage.
        dtype: by name, as in `StoredTensor`.
        shape: sides.
        strides: in elements; C order where left out.
        start: the first element within the storage.
        big_endian: byte order of the storage.
        storage: the storage's identity, where names can share it.

    Raises:
        UnreadableCheckpoint: the shape needs more bytes than the storage holds.
    """
    strides = c_strides(shape) if strides is None else strides
    if not is_known(dtype):
        return unreadable_tensor(shape, dtype, f"numbers of type {dtype}")
    if not _is_possible(shape, strides, start):
        raise UnreadableCheckpoint(
            f"impossible shape {shown_shape(shape)} with strides {shown_shape(strides)}"
        )
    reach = _reach(shape, strides)
    if (start + reach) * itemsize(dtype) > span.nbytes:
        raise UnreadableCheckpoint(
            f"a {dtype} tensor of shape {shown_shape(shape)} from element {start} needs "
            f"{(start + reach) * itemsize(dtype)} bytes; its storage holds {span.nbytes}"
        )

    def read() -> Shaped[np.ndarray, "..."]:
        size = itemsize(dtype)
        _refuse_expansion(shape, reach, size)
        flat = decode(span.read(start * size, reach * size), dtype, big_endian=big_endian)
        return _strided(flat, shape, strides)

    same = None if storage is None else (storage, start, math.prod(shape))
    return StoredTensor("", shape, dtype, read, same)


def whole_tensor(
    source: ByteSource, offset: int, dtype: str, shape: tuple[int, ...], key: str
) -> StoredTensor:
    """Return a tensor of a known type that lies in a file in C order, all of its bytes checked."""
    return StoredTensor(key, shape, dtype, partial(_read_whole, source, offset, dtype, shape))


def _read_whole(
    source: ByteSource, offset: int, dtype: str, shape: tuple[int, ...]
) -> Shaped[np.ndarray, "..."]:
    nbytes = math.prod(shape) * itemsize(dtype)
    return decode(Span(source, offset, nbytes).read(0, nbytes), dtype).reshape(shape)


_files: ContextVar[dict[ByteSource, BufferedReader] | None] = ContextVar("_files", default=None)


@contextmanager
def files_kept_open() -> Iterator[None]:
    """Open each file once for all tensors that are read meanwhile, and close it at the end."""
    files: dict[ByteSource, BufferedReader] = {}
    token = _files.set(files)
    try:
        yield
    finally:
        _files.reset(token)
        for file in files.values():
            file.close()


def _kept_open(source: ByteSource) -> BufferedReader | None:
    """Return the stream of a file that is kept open; `None` where files are not."""
    files = _files.get()
    if files is None:
        return None
    if (file := files.get(source)) is None:
        file = files[source] = source.open()
    return file


def unreadable_tensor(shape: tuple[int, ...], dtype: str, what: str) -> StoredTensor:
    """Return a tensor that is listed, and refuses to be read with the reason."""

    def refuse() -> Shaped[np.ndarray, "..."]:
        raise UnreadableCheckpoint(
            f"This tensor holds {what}, which pe-inspect does not read; expected a dense tensor of "
            "plain numbers. Save it as one (`.to_dense()`, `.dequantize()` or `.float()`)."
        )

    return StoredTensor("", shape, dtype, refuse)


def c_strides(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Strides, in elements, of a C-contiguous array."""
    strides = accumulate(reversed(shape[1:]), mul, initial=1)
    return tuple(strides)[::-1] if shape else ()


def _is_possible(shape: tuple[int, ...], strides: tuple[int, ...], start: int) -> bool:
    """Whether numpy can hold an array of this shape (it has 32 axes and 63-bit sizes).

    One without elements costs no bytes to claim, and readers make arrays of its single sides.
    """
    if len(shape) != len(strides) or len(shape) > MOST_AXES:
        return False
    is_natural = min((start, *shape, *strides)) >= 0
    most = LARGEST_EXPANSION if 0 in shape else 1 << 59
    return is_natural and math.prod([side or 1 for side in shape]) < most


def _reach(shape: tuple[int, ...], strides: tuple[int, ...]) -> int:
    """How many elements of the storage lie between the first and the last one used, inclusive."""
    if 0 in shape:
        return 0
    return 1 + sum([(side - 1) * stride for side, stride in zip(shape, strides)])


def _refuse_expansion(shape: tuple[int, ...], reach: int, size: int) -> None:
    if (math.prod(shape) - reach) * size > LARGEST_EXPANSION:
        raise UnreadableCheckpoint(
            f"A tensor of shape {shown_shape(shape)} repeats {reach} stored elements; reading it "
            f"would take {math.prod(shape) * size} bytes. Save it without the repetition "
            "(`.clone()`)."
        )


def _strided(
    flat: Shaped[np.ndarray, " n"], shape: tuple[int, ...], strides: tuple[int, ...]
) -> Shaped[np.ndarray, "..."]:
    if strides == c_strides(shape) or 0 in shape:
        return flat[: math.prod(shape)].reshape(shape)
    in_bytes = tuple(stride * flat.itemsize for stride in strides)
    view = np.lib.stride_tricks.as_strided(flat, shape, in_bytes, writeable=False)
    return np.ascontiguousarray(view).reshape(shape)
