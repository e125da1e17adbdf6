"""What a caller may hear of transfers; light enough for those who never make one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

__all__ = ["Progress", "Reporter", "Transfer"]


@dataclass(frozen=True)
class Transfer:
    """How far the reading of a file that lies elsewhere is.

    Attributes:
        file: what messages call it.
        received: bytes that this run has fetched of it.
        expected: bytes that it will fetch of it, where all of the file is wanted.
        notice: something to be said at once; then the numbers say nothing.
    """

    file: str
    received: int = 0
    expected: int | None = None
    notice: str = ""


Progress = Callable[[Transfer], None]


@dataclass
class Reporter:
    """Passes transfers on, and remembers what is to stand in the checkpoint's notes."""

    progress: Progress | None = None
    notes: list[str] = field(default_factory=list)

    def tell(self, transfer: Transfer) -> None:
        """Pass it on, if somebody listens."""
        if self.progress is not None:
            self.progress(transfer)

    def note(self, text: str, *, file: str = "") -> None:
        """Remember a note; one that concerns a file is also told at once."""
        if text in self.notes:
            return
        self.notes.append(text)
        if file:
            self.tell(Transfer(file, notice=text))
