"""Web addresses: which can be asked for, and how messages show them."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import quote, urlsplit

__all__ = ["requestable", "shown"]

LONGEST: Final = 300


def shown(url: str) -> str:
    """Return a URL as messages may show it: no user, no password, no signature or key."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return url.partition("?")[0].rpartition("@")[2][:120]
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}{parts.path[:LONGEST]}" + ("?…" if parts.query else "")


def requestable(url: str) -> str:
    """Return a URL without its fragment, and with signs that a request cannot carry quoted.

    Raises:
        ValueError: it names no host, or a port that there is not. The message shows no more of it.
    """
    parts = urlsplit(url.partition("#")[0])
    has_host = bool(parts.hostname) and (parts.port is None or parts.port > 0)
    if not has_host or re.search(r"[\x00-\x20\x7f]", parts.netloc):
        raise ValueError("no host")
    path = quote(parts.path, safe="%/:@!$&'()*+,;=~-._")
    query = quote(parts.query, safe="%/:@!$&'()*+,;=~-._?")
    return f"{parts.scheme}://{parts.netloc}{path}" + (f"?{query}" if query else "")
