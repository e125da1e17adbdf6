"""Requests over connections that stay open: redirects, proxies, and a token for one host only."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from types import TracebackType
from typing import TYPE_CHECKING, Final, cast
from urllib.parse import unquote, urljoin, urlsplit
from urllib.request import getproxies, proxy_bypass

from pe_inspect.errors import UnreadableCheckpoint, UsageError, reason
from pe_inspect.loading.remote.addresses import requestable, shown
from pe_inspect.loading.remote.patience import Endless, WatchedResponse
from pe_inspect.loading.remote.settings import origin, timeout, token_for
from pe_inspect.version import __version__

if TYPE_CHECKING:
    from email.message import Message

__all__ = ["Answer", "Dropped", "HungUp", "Lines", "Refused"]

MOST_REDIRECTS: Final = 8
REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
ANSWERS: Final = frozenset({200, 206, 416})
BLOCK: Final = 1 << 16


class Dropped(Exception):
    """The line failed, or the body ended early; trying again may help."""


class HungUp(Dropped):
    """The answer is too slow or has no end, and so would the next one."""


class Refused(Exception):
    """The server answered with a status that brings no bytes.

    Attributes:
        status: the HTTP status.
        url: who answered.
        headers: what it said.
    """

    def __init__(self, status: int, url: str, headers: Message) -> None:
        super().__init__(f"status {status}")
        self.status, self.url, self.headers = status, url, headers


@dataclass
class Answer:
    """A status that brings bytes, with its body still to be read.

    Attributes:
        status: 200, 206 or 416.
        url: who answered, at the end of all redirects.
        hops: the headers of every answer on the way, the last one's included.
        response: the body.
        hang_up: closes the line, which is of no use while a body is unread.
    """

    status: int
    url: str
    hops: list[Message]
    response: WatchedResponse
    hang_up: Callable[[], None]

    @property
    def headers(self) -> Message:
        """The last answer's headers."""
        return self.hops[-1]

    def first(self, name: str) -> str:
        """Return a header of the first answer that has it; empty where none has."""
        return next((str(hop[name]) for hop in self.hops if hop[name]), "").strip()

    def blocks(self, expected: int | None) -> Iterator[bytes]:
        """Read the body, at most `expected` bytes of it.

        Raises:
            Dropped: the line failed, or the body ended before that many bytes.
        """
        left = expected
        self.response.expect(expected)
        while left is None or left > 0:
            block = self._read(BLOCK if left is None else min(BLOCK, left))
            if not block and left is not None:
                raise Dropped(f"the line was dropped {left} bytes early")
            if not block:
                return
            left = None if left is None else left - len(block)
            yield block

    def _read(self, count: int) -> bytes:
        try:
            return self.response.read(count)
        except Endless as error:
            raise HungUp(str(error)) from error
        except (OSError, HTTPException) as error:
            raise Dropped(reason(error)) from error

    def __enter__(self) -> Answer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        if error is not None or not self.response.isclosed():
            self.response.close()
            self.hang_up()


class Lines:
    """Connections by host. One is used again only after all of its last answer was read."""

    def __init__(self) -> None:
        self._connections: dict[tuple[str, str, int], HTTPConnection] = {}

    def get(self, url: str, start: int | None = None, stop: int | None = None) -> Answer:
        """Ask for bytes from `start` up to `stop`, or for everything; follow redirects.

        Raises:
            Dropped: no connection, or it broke.
            Refused: the server answered, and gives no bytes.
            UnreadableCheckpoint: the redirects do not end, or lead away from the web.
        """
        hops: list[Message] = []
        here = url
        for _ in range(MOST_REDIRECTS + 1):
            response = self._ask(here, start, stop)
            hops.append(response.headers)
            if response.status not in REDIRECTS:
                break
            self._finish(here, response)
            here = _target(url, here, response.headers.get("Location", ""))
        else:
            raise UnreadableCheckpoint(
                f"{shown(url)} is redirected {len(hops)} times without an end. "
                "Check the address, or download the file and give that."
            )
        if response.status not in ANSWERS:
            self._finish(here, response)
            raise Refused(response.status, here, response.headers)
        return Answer(response.status, here, hops, response, partial(self._close, origin(here)))

    def _ask(self, url: str, start: int | None, stop: int | None) -> WatchedResponse:
        headers = {"User-Agent": f"pe-inspect/{__version__}", "Accept-Encoding": "identity"}
        if start is not None and stop is not None:
            headers["Range"] = f"bytes={start}-{stop - 1}"
        if token := token_for(url):
            headers["Authorization"] = f"Bearer {token}"
        elif "@" in urlsplit(url).netloc:
            headers["Authorization"] = _basic(url)
        key = origin(url)
        try:
            connection, target = self._connection(url)
            connection.request("GET", target, headers=headers)
            response = connection.getresponse()
        except Endless as error:
            self._close(key)
            raise HungUp(str(error)) from error
        except (OSError, HTTPException, UnicodeError) as error:
            self._close(key)
            raise Dropped(reason(error)) from error
        return cast("WatchedResponse", response)

    def _connection(self, url: str) -> tuple[HTTPConnection, str]:
        """Return an open line to the host, and what to ask for on it."""
        key, parts = origin(url), urlsplit(url)
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        proxy = _proxy(url)
        if key not in self._connections:
            self._connections[key] = _connect(key, proxy)
        is_plain = bool(proxy) and parts.scheme == "http"
        return self._connections[key], f"http://{parts.netloc}{path}" if is_plain else path

    def _finish(self, url: str, response: HTTPResponse) -> None:
        """Read what nobody needs, where it is short: the line can be used again."""
        try:
            response.read(BLOCK)
            is_done = response.isclosed()
        except (OSError, HTTPException):
            is_done = False
        if not is_done:
            response.close()
            self._close(origin(url))

    def _close(self, key: tuple[str, str, int]) -> None:
        connection = self._connections.pop(key, None)
        if connection is not None:
            connection.close()

    def close(self) -> None:
        """Close every line."""
        for key in list(self._connections):
            self._close(key)

    def __del__(self) -> None:
        self.close()


def _target(asked: str, here: str, location: str) -> str:
    """Return where a redirect leads.

    Raises:
        UnreadableCheckpoint: nowhere, or to something that is not of the web.
    """
    try:
        target = requestable(urljoin(here, location))
    except ValueError:
        target = here
    if target == here or not re.match(r"https?://[^/]", target):
        raise UnreadableCheckpoint(
            f"{shown(asked)} is redirected to no web address. Download the file, and give that."
        )
    if urlsplit(here).scheme == "https" and urlsplit(target).scheme != "https":
        raise UnreadableCheckpoint(
            f"{shown(asked)} is redirected from https to {shown(target)}, which anybody on the way "
            "can change. Download the file in another way, and give that."
        )
    return target


def _proxy(url: str) -> str:
    parts = urlsplit(url)
    proxy = getproxies().get(parts.scheme, "")
    return "" if not proxy or proxy_bypass(parts.hostname or "") else proxy


def _connect(key: tuple[str, str, int], proxy: str) -> HTTPConnection:
    scheme, host, port = key
    if not proxy:
        return _line(scheme, host, port)
    try:
        via = urlsplit(requestable(proxy if "//" in proxy else f"http://{proxy}"))
    except ValueError as error:
        raise UsageError(f"The proxy {shown(proxy)} of the environment is no address.") from error
    line = _line(scheme, via.hostname or "", via.port or 8080)
    if scheme == "https":
        headers = {"Proxy-Authorization": _basic(proxy)} if via.username else {}
        line.set_tunnel(host, port, headers=headers)
    return line


def _line(scheme: str, host: str, port: int) -> HTTPConnection:
    kind = HTTPSConnection if scheme == "https" else HTTPConnection
    line = kind(host, port, timeout=timeout())
    line.response_class = WatchedResponse
    return line


def _basic(url: str) -> str:
    """Return the user and password of a URL as a header."""
    parts = urlsplit(url)
    pair = f"{unquote(parts.username or '')}:{unquote(parts.password or '')}"
    return "Basic " + base64.b64encode(pair.encode()).decode()
