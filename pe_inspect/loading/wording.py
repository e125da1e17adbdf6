"""Words of a stranger's file, made fit for a message."""

from __future__ import annotations

from typing import Final

__all__ = ["printable", "reason"]

LONGEST: Final = 120


def printable(text: str) -> str:
    """Return a text without control characters, and not too long."""
    shown = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
    return shown if len(shown) <= LONGEST else shown[:LONGEST] + "…"


def reason(error: Exception) -> str:
    """Return what an error says, in one line, or its name where it says nothing."""
    lines = str(error).splitlines()
    return printable(lines[0]) if lines and lines[0] else type(error).__name__
