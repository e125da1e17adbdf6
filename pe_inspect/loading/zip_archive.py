"""Zip archives as PyTorch and numpy write them: where each member's bytes lie in the file."""

from __future__ import annotations

import struct
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Final

from pe_inspect.errors import UnreadableCheckpoint
from pe_inspect.loading.byte_source import ByteSource
from pe_inspect.loading.tensor_bytes import Span

if TYPE_CHECKING:
    from collections.abc import Iterator
    from zipfile import ZipFile, ZipInfo

__all__ = [
    "after_local_header",
    "member_span",
    "names_in",
    "open_zip",
    "read_member",
    "read_small_member",
]

LOCAL_HEADER: Final = struct.Struct("<4s22xHH")
STORED: Final = 0
ENCRYPTED: Final = 1
HIGHEST_RATIO: Final = 1032
"""What DEFLATE can do at best: 258 bytes out of two bits. Source: zlib's technical notes."""


@contextmanager
def open_zip(source: ByteSource) -> Iterator[ZipFile]:
    """Open an archive; whatever zipfile has to say of a bad one becomes one plain line.

    Raises:
        UnreadableCheckpoint: the archive is truncated or damaged.
    """
    import zipfile
    import zlib

    damaged = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError)
    try:
        with source.open() as stream, zipfile.ZipFile(stream) as archive:
            yield archive
    except (*damaged, struct.error, ValueError, KeyError) as error:
        raise UnreadableCheckpoint(
            f"{source} is a zip archive that is truncated or damaged ({error}). "
            "Copy or download it again."
        ) from error


def names_in(source: ByteSource) -> tuple[str, ...]:
    """The members' names, in the order of the central directory."""
    with open_zip(source) as archive:
        return tuple(archive.namelist())


def member_span(info: ZipInfo, source: ByteSource) -> Span:
    """Return where a member's bytes lie; a compressed one is named instead of placed.

    Raises:
        UnreadableCheckpoint: the member is encrypted, or reaches beyond the end of the file.
    """
    if info.flag_bits & ENCRYPTED:
        raise UnreadableCheckpoint(f"{source} is encrypted ({info.filename}); decrypt it first.")
    if info.compress_type != STORED:
        if info.file_size > HIGHEST_RATIO * info.compress_size:
            raise ValueError(f"{info.filename} claims to unpack to {info.file_size} bytes")
        return Span(source, 0, info.file_size, member=info.filename)
    end = info.header_offset + LOCAL_HEADER.size + len(info.filename) + info.file_size
    if end > source.size:
        raise UnreadableCheckpoint(
            f"{source} is truncated: {info.filename} ends {end} bytes in. "
            "Copy or download it again."
        )
    return Span(source, 0, info.file_size, header=info.header_offset)


def after_local_header(file: IO[bytes], start: int) -> int:
    """Return where a member's bytes start: after its local header, whose padding only it knows.

    Raises:
        ValueError: no member starts there.
        EOFError: the file ends before.
    """
    file.seek(start)
    header = file.read(LOCAL_HEADER.size)
    if len(header) < LOCAL_HEADER.size:
        raise EOFError
    if not header.startswith(b"PK\x03\x04"):
        raise ValueError(f"no member of the archive starts at byte {start}")
    _, name_length, extra_length = LOCAL_HEADER.unpack(header)
    return start + LOCAL_HEADER.size + int(name_length) + int(extra_length)


def read_small_member(archive: ZipFile, name: str, limit: int) -> bytes:
    """Read a whole member that has no business being larger than `limit` bytes.

    Raises:
        UnreadableCheckpoint: it is larger, whatever its header claims.
    """
    with archive.open(name) as member:
        content = member.read(limit + 1)
    if len(content) > limit:
        raise UnreadableCheckpoint(f"{name} is larger than {limit >> 20} MiB; expected a few.")
    return content


def read_member(source: ByteSource, name: str, start: int, buffer: bytearray) -> int:
    """Decompress one member from `start` on into `buffer`; return how many bytes came."""
    with open_zip(source) as archive, archive.open(name) as member:
        member.seek(start)
        content = member.read(len(buffer))
    buffer[: len(content)] = content
    return len(content)
