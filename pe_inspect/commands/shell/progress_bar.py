"""How far one long piece of work is, on stderr: a line that moves, or one a tenth."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from pe_inspect.commands.shell.terminal import complain, move_line, on_a_terminal
from pe_inspect.commands.shell.training import duration

__all__ = ["ProgressBar", "progress_bar"]

BETWEEN: Final = 0.1  # seconds
STEPS: Final = 10
SHORT: Final = 10.0  # seconds of work that need no lines


@contextmanager
def progress_bar(what: str, *, quiet: bool) -> Iterator[ProgressBar]:
    """Yield a function to call with the part of the work that is going on and the share done."""
    shown = ProgressBar(what, moving=on_a_terminal(), quiet=quiet)
    try:
        yield shown
    finally:
        shown.clear()


@dataclass
class ProgressBar:
    """The share of one piece of work that is done, and the time that is left.

    Attributes:
        what: the work, in a word.
        moving: whether somebody watches: one line that moves, else a line a tenth.
        quiet: say nothing.
    """

    what: str
    moving: bool
    quiet: bool = False
    started: float = -1.0
    drawn: float = -1.0
    step: int = 0

    def __call__(self, part: str, share: float) -> None:
        """Say that `share` (0 to 1) is done, and which part is going on."""
        now = time.monotonic()
        if self.started < 0:  # what was read before is no measure of what is left
            self.started = now
        text = self.line(part, share, now - self.started)
        if self.quiet:
            return
        if self.moving and now - self.drawn >= BETWEEN:
            self.drawn = now
            move_line(text)
        elif not self.moving and int(share * STEPS) > self.step and now - self.started > SHORT:
            self.step = int(share * STEPS)
            complain(text)

    def line(self, part: str, share: float, seconds: float) -> str:
        """Return `evaluate: 43 % · plain at 48×48 by bicubic · 2 min left`."""
        left = seconds / share * (1 - share) if share > 0 else 0.0
        ahead = f" · {duration(max(left, 1) / 60)} left" if share > 0 else ""
        return f"{self.what}: {share:.0%} · {part}{ahead}"

    def clear(self) -> None:
        """Remove the moving line, if there is one."""
        if self.drawn >= 0:
            move_line("")
            self.drawn = -1.0
