"""How far a list of things is, on stderr: a line that moves on a terminal."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import TypeVar

from pe_inspect.commands.shell.terminal import move_line, on_a_terminal
from pe_inspect.commands.shell.training import duration

__all__ = ["counted"]

T = TypeVar("T")


def counted(things: Sequence[T], what: str, *, quiet: bool) -> Iterator[T]:
    """Yield things one by one; say on a terminal which one it is, and how long the rest takes.

    Args:
        things: what is gone through.
        what: one of them, in a word.
        quiet: say nothing.
    """
    moving = not quiet and on_a_terminal() and len(things) > 1
    started = time.monotonic()
    try:
        for done, thing in enumerate(things):
            if moving:
                move_line(line(what, done, len(things), time.monotonic() - started))
            yield thing
    finally:
        if moving:
            move_line("")


def line(what: str, done: int, count: int, seconds: float) -> str:
    """Return `checkpoint 3 of 40 · 2 min left`; without the time until one thing is done."""
    left = seconds / done * (count - done) if done else 0.0
    ahead = f" · {duration(max(left, 1) / 60)} left" if done else ""
    return f"{what} {done + 1} of {count}{ahead}"
