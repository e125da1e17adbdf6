"""A file's bytes by position: `data[5]`, `data[5:9]`; what is not asked for is not read."""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Final, Protocol, overload, runtime_checkable

from pe_inspect.loading.byte_source import ByteSource

__all__ = ["Octets", "octets_of"]

BLOCK: Final = 1 << 13
KEPT: Final = 4


@runtime_checkable
class Octets(Protocol):
    """What `bytes`, a mapped file and `_Blocks` have in common; a slice past the end is short."""

    def __len__(self) -> int:
        """Bytes."""

    @overload
    def __getitem__(self, where: int) -> int: ...

    @overload
    def __getitem__(self, where: slice) -> bytes: ...


class _Blocks:
    """The bytes of a stream, the last few blocks kept."""

    def __init__(self, stream: IO[bytes], size: int) -> None:
        self._stream, self._size = stream, size
        self._kept: dict[int, bytes] = {}

    def __len__(self) -> int:
        return self._size

    @overload
    def __getitem__(self, where: int) -> int: ...

    @overload
    def __getitem__(self, where: slice) -> bytes: ...

    def __getitem__(self, where: int | slice) -> int | bytes:
        if isinstance(where, int):
            number, within = divmod(where, BLOCK)
            return self._block(number)[within]
        start, stop, _ = where.indices(self._size)
        if stop - start > BLOCK:
            self._stream.seek(start)
            return self._stream.read(stop - start)
        first, last = start // BLOCK, max(stop - 1, start) // BLOCK
        found = b"".join(self._block(number) for number in range(first, last + 1))
        return found[start - first * BLOCK : stop - first * BLOCK]

    def _block(self, number: int) -> bytes:
        if number not in self._kept:
            if len(self._kept) >= KEPT:
                del self._kept[next(iter(self._kept))]
            self._stream.seek(number * BLOCK)
            self._kept[number] = self._stream.read(BLOCK)
        return self._kept[number]


@contextmanager
def octets_of(source: ByteSource) -> Iterator[Octets]:
    """Give a file's bytes by position while the context lasts."""
    with source.open() as stream:
        if source.path is None or not source.size:
            yield _Blocks(stream, source.size)
            return
        with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
            yield mapped
