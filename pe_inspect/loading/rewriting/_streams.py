"""Bytes from one file to another: by the kernel where it can, else block by block."""

from __future__ import annotations

import io
import os
from typing import IO, Final

from pe_inspect.errors import UnreadableCheckpoint
from pe_inspect.loading.byte_source import ByteSource

__all__ = ["copy_range"]

BLOCK: Final = 8 << 20


def copy_range(source: ByteSource, out: IO[bytes], start: int, count: int) -> None:
    """Append `count` bytes of a file, from `start` on, to `out`.

    Raises:
        UnreadableCheckpoint: the file ends before.
        OSError: the disk is full, or cannot be written.
    """
    with source.open() as stream:
        rest = count if source.path is None else _by_kernel(stream, out, start, count)
        stream.seek(start + count - rest)
        while rest:
            block = stream.read(min(rest, BLOCK))
            if not block:
                raise UnreadableCheckpoint(f"{source} ends {rest} bytes early; it has changed.")
            out.write(block)
            rest -= len(block)


def _by_kernel(stream: IO[bytes], out: IO[bytes], start: int, count: int) -> int:
    """Send what the kernel can send between two files; return how many bytes are left."""
    try:
        out.flush()
        ends = out.fileno(), stream.fileno()
        send = os.sendfile
    except (AttributeError, io.UnsupportedOperation):
        return count
    rest = count
    while rest:
        try:
            sent = send(*ends, start + count - rest, min(rest, 1 << 30))
        except OSError:
            if rest < count:
                raise
            return rest  # another system, or no files: nothing was sent
        if not sent:
            break
        rest -= sent
    return rest
