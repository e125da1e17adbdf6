"""A raw stream over bytes that are read by position, and a reader that asks for no more of them."""

from __future__ import annotations

import io
from abc import abstractmethod

__all__ = ["BoundedReader", "PositionedBytes"]


class PositionedBytes(io.RawIOBase):
    """A position in `size` bytes."""

    def __init__(self) -> None:
        self._position = 0

    @property
    @abstractmethod
    def size(self) -> int:
        """Bytes."""

    @abstractmethod
    def read_into(self, start: int, buffer: memoryview) -> int:
        """Fill `buffer` from byte `start` on; return how many bytes there were."""

    def readable(self) -> bool:
        """It can be read."""
        return True

    def seekable(self) -> bool:
        """It has a position."""
        return True

    def tell(self) -> int:
        """Return the position."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Set the position, which may lie beyond the end."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self.size}[whence]
        if base + offset < 0:
            raise ValueError("a position before the start of the file")
        self._position = base + offset
        return self._position

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Fill `buffer` from the position on."""
        count = self.read_into(self._position, memoryview(buffer))
        self._position += count
        return count


class BoundedReader(io.BufferedReader):
    """Never makes room for more bytes than there are left, whatever a pickle asks for."""

    raw: PositionedBytes

    def read(self, size: int | None = -1, /) -> bytes:
        """Read on; `-1` is all that is left."""
        left = max(self.raw.size - self.tell(), 0)
        return super().read(left if size is None or size < 0 else min(size, left))
