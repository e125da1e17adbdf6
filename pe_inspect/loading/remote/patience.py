"""How long a server is waited for: answers that come drop by drop, or never end, are hung up on."""

from __future__ import annotations

import io
import math
import socket
import time
from http.client import HTTPResponse
from typing import Any, Final

from pe_inspect.loading.remote.settings import timeout

__all__ = ["LEAST_SPEED", "Endless", "WatchedResponse"]

LEAST_SPEED: Final = 1024
"""Bytes a second, once the first `timeout()` seconds of waiting are over."""
LONGEST_HEADERS: Final = 1 << 18
LARGEST_UNMEASURED: Final = 1 << 31
LONGEST_UNMEASURED: Final = 600.0
"""Bytes and seconds of waiting of a body whose length nobody states."""
PADDING: Final = 16
"""Bytes that may come for one of the body: chunks of one byte bring five or more of their own."""


class Endless(OSError):
    """The answer is too slow, or goes on beyond what it may be: asking again would not help."""


class _Watched(io.RawIOBase):
    """A line's bytes, counted, with the seconds that were waited for them."""

    def __init__(self, raw: Any) -> None:
        self._raw = raw
        self.received, self.waited = 0, 0.0
        self.most, self.longest = LONGEST_HEADERS, math.inf

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        start = time.monotonic()
        count: int | None = self._raw.readinto(buffer)
        self.waited += time.monotonic() - start
        self.received += count or 0
        self._judge()
        return count

    def _judge(self) -> None:
        if self.received > self.most:
            raise Endless(f"it sends more than {self.most:,} bytes where fewer belong")
        if self.waited > min(timeout() + self.received / LEAST_SPEED, self.longest):
            raise Endless(f"{self.received:,} bytes came in {self.waited:.0f} seconds")

    def close(self) -> None:
        if not self.closed:
            self._raw.close()
        super().close()


class WatchedResponse(HTTPResponse):
    """An answer that ends: its headers are short, and its body is as long as it says.

    Raises:
        Endless: while it is read.
    """

    def __init__(self, sock: socket.socket, *arguments: Any, **options: Any) -> None:
        super().__init__(sock, *arguments, **options)
        plain: Any = self.fp
        self._watched = _Watched(plain.detach())
        self.fp = io.BufferedReader(self._watched)

    def expect(self, count: int | None) -> None:
        """Say how many bytes of the body will be read; `None` where nobody knows."""
        more = LARGEST_UNMEASURED if count is None else PADDING * count + LONGEST_HEADERS
        self._watched.most = self._watched.received + more
        if count is None:
            self._watched.longest = LONGEST_UNMEASURED
