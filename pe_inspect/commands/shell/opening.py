"""From what was typed to an open checkpoint: located, loaded, read, and what was chosen told."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

from pe_inspect.commands.shell.describe import as_json
from pe_inspect.commands.shell.locate import Located, locate
from pe_inspect.commands.shell.options import Asked, Opening, Reading, Source, Terminal
from pe_inspect.commands.shell.terminal import complain
from pe_inspect.errors import NoPositionEmbedding
from pe_inspect.front import OpenedCheckpoint

if TYPE_CHECKING:
    from pe_inspect.commands.shell.transfers import Transfers
    from pe_inspect.loading import Checkpoint

__all__ = [
    "NamedCheckpoint",
    "described",
    "located_aloud",
    "open_checkpoint",
    "open_for_resizing",
    "open_subject",
    "transfers_of",
    "twice_if_changed",
]

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class NamedCheckpoint(OpenedCheckpoint):
    """A checkpoint that was opened, and what its reports are filed under."""

    name: str

    def suffixes(self) -> list[str]:
        """Return what is added to file names: nothing for the first embedding, then its family."""
        seen: list[str] = []
        for pe in self.tables:
            same = sum(name.startswith(pe.family) for name in seen)
            seen.append(pe.family if not same else f"{pe.family}_{same + 1}")
        return ["", *(f"_{name}" for name in seen[1:])]


def open_subject(
    source: Source,
    reading: Reading,
    terminal: Terminal,
    *,
    with_sha256: bool,
    may_lack: bool = False,
) -> NamedCheckpoint:
    """Locate and load the checkpoint, and extract its embeddings; say what was chosen.

    With `may_lack`, a checkpoint without any is no error: it has no tables.
    """
    from pe_inspect.families import extract

    located = located_aloud(source.checkpoint, source, terminal)

    def opened() -> NamedCheckpoint:
        with _collecting_later(), transfers_of(located.source, quiet=terminal.quiet) as progress:
            checkpoint = open_checkpoint(located, source, reading, progress)
            try:
                tables = extract(checkpoint, with_sha256=with_sha256)
            except NoPositionEmbedding:
                if not may_lack:
                    raise
                tables = ()
        return NamedCheckpoint(name=located.name, checkpoint=checkpoint, tables=tables)

    return twice_if_changed(opened)


@contextmanager
def _collecting_later() -> Iterator[None]:
    """Look for garbage when a file was read: its header becomes many objects, and none of it."""
    gc.disable()
    try:
        yield
        gc.freeze()
    finally:
        gc.enable()


def open_for_resizing(asked: Asked) -> NamedCheckpoint:
    """Open the checkpoint; --patch-size is the new patch here, and no claim about the file's.

    Where the file has no kernel that shows its patch, it says that too.
    """
    reading, patch = asked.reading, asked.reading.patch()
    plain = replace(reading, patch_size=None)
    if patch is None:
        return open_subject(asked.source, reading, asked.terminal, with_sha256=asked.terminal.json)
    subject = open_subject(asked.source, plain, asked.terminal, with_sha256=asked.terminal.json)
    if all(pe.patch_size is None for pe in subject.tables):
        return open_subject(asked.source, reading, asked.terminal, with_sha256=asked.terminal.json)
    return subject


def transfers_of(source: str, *, quiet: bool) -> AbstractContextManager[Transfers | None]:
    """Return what `load` is to tell of transfers: a file of this machine makes none."""
    from pe_inspect.loading.byte_source import is_remote

    if not is_remote(source):
        return nullcontext()
    from pe_inspect.commands.shell.transfers import transfers

    return transfers(quiet=quiet)


def located_aloud(given: str | None, source: Opening, terminal: Terminal) -> Located:
    """Locate a checkpoint, and say what was chosen for the user."""
    located = locate(given, no_train=source.no_train, quiet=terminal.quiet)
    if located.how and not terminal.quiet:
        complain(located.how)
    return located


def open_checkpoint(
    located: Located, source: Opening, reading: Reading, progress: Transfers | None
) -> Checkpoint:
    """Load a checkpoint with all that was said of it."""
    from pe_inspect.loading import load

    return load(located.source, hints=reading.hints(), progress=progress, **source.opening())


def twice_if_changed(work: Callable[[], T]) -> T:
    """Do a piece of work once more where a remote file was replaced meanwhile."""
    from pe_inspect.loading import ChangedMeanwhile

    try:
        return work()
    except ChangedMeanwhile:
        return work()


def described(subject: OpenedCheckpoint) -> dict[str, Any]:
    """Return what one checkpoint of a page is, as one JSON object."""
    return {
        "source": subject.checkpoint.source,
        "sha256": subject.checkpoint.sha256,
        "format": subject.checkpoint.format,
        "embeddings": [as_json(pe) for pe in subject.tables],
        "notes": [note for pe in subject.tables for note in pe.notes],
    }
