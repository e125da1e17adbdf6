"""Ranges of files that lie elsewhere, kept as sparse files: bytes that never came take no room.

A URL has one folder. In it `about.json` says what the server said of the file, `NAME.data` holds
the bytes at their places, and `NAME.ranges` is a journal of which of them are there: a line is
added after its bytes are on the disk, so that neither a crash nor a second process beside us can
make it claim too much. NAME comes from the content's identity: a file that changed gets new ones.
"""

from __future__ import annotations

import atexit
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any, Final

from pe_inspect.bounded import json_in, typed_fields
from pe_inspect.errors import OutputError
from pe_inspect.files import write_atomically
from pe_inspect.loading.remote.settings import cache_folder

__all__ = ["About", "CacheEntry", "Store"]

ABOUT: Final = "about.json"


@dataclass(frozen=True)
class About:
    """What a server says of a file.

    Attributes:
        url: without user, password and query.
        identity: what changes with the content: an ETag; empty where the server gives nothing.
        size: bytes.
        sha256: where the hub states it; else empty.
        commit: the revision that the hub resolved the name to; else empty.
    """

    url: str
    identity: str
    size: int
    sha256: str = ""
    commit: str = ""


class CacheEntry:
    """What the cache knows of one URL."""

    def __init__(self, url: str) -> None:
        key = hashlib.sha256(url.encode()).hexdigest()[:32]
        self.folder = _root() / "remote" / key

    def about(self) -> About | None:
        """Return what the server said last time; `None` where it was never asked."""
        try:
            about = About(**typed_fields(About, json_in(self.folder / ABOUT)))
        except (OSError, ValueError, TypeError):
            return None
        return about if about.size >= 0 else None

    def store(self, about: About) -> Store:
        """Return the bytes that are there of this content."""
        return Store(self.folder / _stem(about))

    def adopt(self, about: About) -> Store:
        """Remember what the server says now, and forget the bytes of another content.

        Raises:
            OutputError: the cache cannot be written.
        """
        text = json.dumps(asdict(about), indent=1).encode()
        with _as_cache_error(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            for old in self.folder.iterdir():
                if old.name != ABOUT and not old.name.startswith(_stem(about)):
                    old.unlink(missing_ok=True)
            write_atomically(self.folder / ABOUT, lambda file: file.write(text), durable=False)
        return self.store(about)


class Store:
    """The bytes of one content that have arrived."""

    def __init__(self, stem: Path) -> None:
        self.path = stem.with_name(stem.name + ".data")
        self._journal = stem.with_name(stem.name + ".ranges")
        self._ranges = _merged(self._written())

    def missing(self, start: int, stop: int) -> tuple[int, int] | None:
        """Return the first stretch of [start, stop) that is not there."""
        for begin, end in self._ranges:
            if begin <= start < end:
                start = end
            elif start < begin:
                stop = min(begin, stop)
        return (start, stop) if start < stop else None

    def lacking(self, size: int) -> int:
        """Return how many of the first `size` bytes are not there."""
        return size - sum(min(end, size) - min(begin, size) for begin, end in self._ranges)

    def read_into(self, start: int, buffer: memoryview) -> int:
        """Fill `buffer` with the bytes from `start` on; return how many there were."""
        with self.path.open("rb") as file:
            file.seek(start)
            return file.readinto(buffer)

    @contextmanager
    def writing(self, start: int) -> Iterator[Callable[[bytes], None]]:
        """Yield a function that writes on from `start`; what came is kept, come what may.

        Raises:
            OutputError: the cache cannot be written.
        """
        with _as_cache_error(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.path.touch()
            file = self.path.open("r+b")
        with file:
            file.seek(start)
            try:
                yield partial(self._write, file)
            finally:
                self._keep(file, start, file.tell())

    def _write(self, file: IO[bytes], content: bytes) -> None:
        with _as_cache_error(self.path):
            file.write(content)

    def _keep(self, file: IO[bytes], start: int, stop: int) -> None:
        if stop == start:
            return
        with _as_cache_error(self.path):
            file.flush()
            os.fsync(file.fileno())
            with self._journal.open("a", encoding="ascii") as journal:
                journal.write(f"{start} {stop}\n")
        self._ranges = _merged([*self._ranges, (start, stop)])

    def _written(self) -> list[tuple[int, int]]:
        """Read the journal; a line that makes no sense, or claims too much, is passed over."""
        try:
            there = self.path.stat().st_size
            lines = self._journal.read_text(encoding="ascii", errors="replace").splitlines()
        except OSError:
            return []
        words = [line.split() for line in lines]
        pairs = [(int(w[0]), int(w[1])) for w in words if len(w) == 2 and all(map(_is_number, w))]
        return [(start, stop) for start, stop in pairs if start < stop <= there]


def _is_number(word: str) -> bool:
    return word.isascii() and word.isdecimal()


def _merged(ranges: list[tuple[int, int]]) -> list[tuple[int, int]]:
    merged: list[tuple[int, int]] = []
    for start, stop in sorted(ranges):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(stop, merged[-1][1]))
        else:
            merged.append((start, stop))
    return merged


def _stem(about: About) -> str:
    """Return the name of a content; a new one each time where nothing identifies it."""
    identity = about.identity or f"unidentified {os.getpid()} {os.urandom(8).hex()}"
    return hashlib.sha256(f"{identity} {about.size}".encode()).hexdigest()[:16]


@contextmanager
def _as_cache_error(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, OutputError) as error:
        cause: Any = error.__cause__ if isinstance(error, OutputError) else error
        raise OutputError(
            f"The cache cannot be written at {path}: {getattr(cause, 'strerror', None) or cause}. "
            "Set PE_INSPECT_CACHE to a folder with room."
        ) from error


def _root() -> Path:
    """Return the cache's folder; one that ends with this process where that cannot be made."""
    try:
        folder = cache_folder()
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except (OSError, RuntimeError):  # the latter where nobody knows the user's home
        return _passing_folder()
    return folder if os.access(folder, os.W_OK) else _passing_folder()


_PASSING: Final[list[Path]] = []


def _passing_folder() -> Path:
    if not _PASSING:
        _PASSING.append(Path(tempfile.mkdtemp(prefix="pe-inspect-")))
        atexit.register(shutil.rmtree, _PASSING[0], ignore_errors=True)
    return _PASSING[0]
