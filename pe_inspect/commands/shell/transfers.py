"""What comes over the network, on stderr: a line that moves on a terminal, notices anywhere."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from pe_inspect.commands.shell.terminal import complain, move_line, on_a_terminal

if TYPE_CHECKING:
    from pe_inspect.loading.transfer import Transfer

__all__ = ["transfers"]

BETWEEN: Final = 0.1  # seconds
BAR: Final = 24
MB: Final = 1e6


@contextmanager
def transfers(*, quiet: bool) -> Iterator[Transfers | None]:
    """Yield what `load` is to tell of transfers; nothing where nobody wants to know."""
    shown = None if quiet else Transfers(on_a_terminal())
    try:
        yield shown
    finally:
        if shown is not None:
            shown.clear()


@dataclass
class Transfers:
    """Draws one line for the file that is being read; says a notice once and for good."""

    moving: bool
    drawn: float = -1.0
    started: dict[str, float] = field(default_factory=dict)

    def __call__(self, transfer: Transfer) -> None:
        """Show how far it is."""
        now = time.monotonic()
        started = self.started.setdefault(transfer.file, now)
        if transfer.notice:
            self.clear()
            complain(f"Note: {transfer.notice}")
        elif self.moving and now - self.drawn >= BETWEEN:
            self.drawn = now
            move_line(line(transfer, now - started))

    def clear(self) -> None:
        """Remove the line, if there is one."""
        if self.drawn >= 0:
            move_line("")
            self.drawn = -1.0


def line(transfer: Transfer, seconds: float) -> str:
    """Return `x.pth: [####----] 123 of 343 MB · 4.2 MB/s · 52 s left`, or what was read so far."""
    received, expected = transfer.received, transfer.expected
    if not expected:
        return f"{transfer.file}: {received / MB:.1f} MB read"
    done = min(received / expected, 1.0)
    bar = "#" * round(BAR * done) + "-" * (BAR - round(BAR * done))
    rate = received / seconds if seconds > 0 else 0.0
    left = f" · {(expected - received) / rate:.0f} s left" if rate else ""
    return (
        f"{transfer.file}: [{bar}] {received / MB:.0f} of {expected / MB:.0f} MB"
        f" · {rate / MB:.1f} MB/s{left}"
    )
