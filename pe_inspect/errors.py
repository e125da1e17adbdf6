"""Every error that a user can meet, and the exit code that it carries.

    PEInspectError            1   something went wrong inside pe-inspect
    ├── UsageError            2   the request cannot be carried out as given
    │   └── OutputError       2   the output cannot be written, or would overwrite something
    ├── UnreadableCheckpoint  3   the file cannot be read
    │   └── UnsafeCheckpoint  3   reading the file would run code
    ├── NoPositionEmbedding   4   the file was read, and holds no position embedding
    └── AmbiguousCheckpoint   5   several readings fit, and none is the ordinary one

No error, and yet not 0: the doctor is done and has findings, 6 (`HAS_FINDINGS`).

A message is one to three plain lines: what was given, what was expected, what to do.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar, Final

__all__ = [
    "HAS_FINDINGS",
    "AmbiguousCheckpoint",
    "NoPositionEmbedding",
    "OutputError",
    "PEInspectError",
    "UndecidedGrid",
    "UnfitShapes",
    "UnreadableCheckpoint",
    "UnsafeCheckpoint",
    "UsageError",
    "printable",
    "reason",
    "refusal",
    "refused_as",
]


LONGEST: Final = 120
"""Characters of a stranger's file that a message shows."""

LONGEST_LINE: Final = 2000
MOST_LINES: Final = 100

HAS_FINDINGS: Final = 6
"""The exit code of `doctor` where something is wrong with the checkpoint, or does not fit."""


class PEInspectError(Exception):
    """The root of the tree: catch it to catch everything that pe-inspect raises on purpose."""

    exit_code: ClassVar[int] = 1

    def __str__(self) -> str:
        """The message; a line that a stranger's file has made endless is cut short."""
        return "\n".join(map(_cut, super().__str__().split("\n")[:MOST_LINES]))


class UsageError(PEInspectError):
    """An argument does not exist, does not parse, or contradicts another one."""

    exit_code = 2


class OutputError(UsageError):
    """An output folder cannot be written, or holds a file that is not ours to replace."""


class UnreadableCheckpoint(PEInspectError):
    """The file is missing, truncated, empty, or of another kind."""

    exit_code = 3


class UnsafeCheckpoint(UnreadableCheckpoint):
    """The file's pickle names globals that could run code. Nothing was run."""


class NoPositionEmbedding(PEInspectError):
    """The checkpoint was read; no position embedding was found in it."""

    exit_code = 4


class AmbiguousCheckpoint(PEInspectError):
    """The checkpoint has several readings, or contradicts what the user said of it."""

    exit_code = 5


class UndecidedGrid(AmbiguousCheckpoint):
    """Several grids fit what was found, and what a reader knows does not decide between them."""


class UnfitShapes(UndecidedGrid, ValueError):
    """Tensors have the names of a scheme, and shapes that it does not have."""


class GridNotStored(UndecidedGrid):
    """A scheme that is computed for any grid, and nothing says which."""


def _cut(line: str) -> str:
    return line if len(line) <= LONGEST_LINE else f"{line[:LONGEST_LINE]}…"


def printable(text: str) -> str:
    """Return words of a stranger's file without control characters, and not too long."""
    shown = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text[: LONGEST + 1])
    return shown if len(shown) <= LONGEST else shown[:LONGEST] + "…"


def reason(error: Exception) -> str:
    """Return what an error says, in one line, or its name where it says nothing."""
    lines = str(error).splitlines()
    return printable(lines[0]) if lines and lines[0] else type(error).__name__


@contextmanager
def refused_as(kind: type[PEInspectError]) -> Iterator[None]:
    """Let what the system refuses of a path end in one plain line, as an error of this kind.

    Raises:
        PEInspectError: of the kind; a folder cannot be searched, or a name is too long.
    """
    try:
        yield
    except OSError as error:
        raise kind(refusal(error)) from error


def refusal(error: OSError) -> str:
    """Return which path the system refused, and why."""
    reason = error.strerror or str(error)
    return f"{error.filename} cannot be reached: {reason}. Check its name and its permissions."
