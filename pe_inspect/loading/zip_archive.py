"""Zip archives as PyTorch and numpy write them: opening them, and where a member's bytes start."""

from __future__ import annotations

import struct
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Final

from pe_inspect.errors import UnreadableCheckpoint, printable, reason
from pe_inspect.loading.byte_source import ByteSource

if TYPE_CHECKING:
    from collections.abc import Iterator
    from zipfile import ZipFile, ZipInfo

__all__ = [
    "after_local_header",
    "names_in",
    "open_zip",
    "read_member",
    "read_small_member",
]

LOCAL_HEADER: Final = struct.Struct("<4s22xHH")
_READ: Final = (0, 8)  # stored and deflated, as numpy and PyTorch write
FREE: Final = 16 << 20
HIGHEST_RATIO: Final = 64
"""Zeros deflate 1,032 to one, weights hardly at all: a member unpacks to 16 MiB, and 64 times what
lies in the archive."""


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
            for info in archive.infolist():
                _refuse_expansion(info)
            yield archive
    except (*damaged, struct.error, ValueError, KeyError) as error:
        raise UnreadableCheckpoint(
            f"{source} is a zip archive that is truncated or damaged ({reason(error)}). "
            "Copy or download it again."
        ) from error


def _refuse_expansion(info: ZipInfo) -> None:
    """Refuse a member that would unpack to far more than the archive holds.

    Raises:
        ValueError: it is packed in a way that no tool of this field uses, or claims too much.
    """
    if info.compress_type not in _READ:
        raise ValueError(f"{printable(info.filename)} is packed by method {info.compress_type}")
    if info.file_size > FREE + HIGHEST_RATIO * info.compress_size:
        raise ValueError(f"{printable(info.filename)} claims to unpack to {info.file_size} bytes")


def names_in(source: ByteSource) -> tuple[str, ...]:
    """The members' names, in the order of the central directory."""
    with open_zip(source) as archive:
        return tuple(archive.namelist())


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
