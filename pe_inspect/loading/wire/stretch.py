"""A stretch of a file that is a file itself: what lies uncompressed in an archive."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from pe_inspect.errors import UnreadableCheckpoint
from pe_inspect.loading.byte_source import ByteSource, Folder
from pe_inspect.loading.wire.positioned import BoundedReader, PositionedBytes

__all__ = ["Stretch"]


@dataclass(frozen=True)
class Stretch:
    """`size` bytes of `outer` from `start` on; a `ByteSource`.

    Attributes:
        outer: the file that it lies in.
        start: its first byte.
        size: bytes.
        name: what it is called there.
    """

    outer: ByteSource
    start: int
    size: int
    name: str
    path = None
    unhashed = "sha256 is that of the file around it"

    def __str__(self) -> str:
        return f"{self.outer} ({self.name})"

    @property
    def folder(self) -> Folder:
        """Where the file around it lies."""
        return self.outer.folder

    def open(self) -> io.BufferedReader:
        """Return a stream over the stretch."""
        return BoundedReader(_Within(self.outer.open(), self.start, self.size))

    def whole(self) -> Path:
        """It is no file of its own.

        Raises:
            UnreadableCheckpoint: always.
        """
        raise UnreadableCheckpoint(f"{self} lies inside an archive. Unpack it and give that.")

    def sha256(self) -> str:
        """It is hashed with the file around it."""
        return ""


class _Within(PositionedBytes):
    """A position in the stretch."""

    def __init__(self, stream: IO[bytes], start: int, size: int) -> None:
        super().__init__()
        self._stream, self._start, self._size = stream, start, size

    @property
    def size(self) -> int:
        return self._size

    def close(self) -> None:
        self._stream.close()
        super().close()

    def read_into(self, start: int, buffer: memoryview) -> int:
        left = max(self.size - start, 0)
        self._stream.seek(self._start + start)
        content = self._stream.read(min(left, len(buffer)))
        buffer[: len(content)] = content
        return len(content)
