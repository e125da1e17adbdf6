"""Where a weight file's bytes come from: a file here, or one elsewhere, behind one small protocol.

Formats know only `ByteSource` and `Folder`. Files and folders of this machine are below; those on
a server are in `remote/`, which is imported only where one is named.
"""

from __future__ import annotations

import mmap
import os
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Final, Protocol, runtime_checkable

from pe_inspect.errors import UnreadableCheckpoint

if TYPE_CHECKING:
    from io import BufferedReader

__all__ = [
    "ByteSource",
    "ChangedMeanwhile",
    "Folder",
    "LocalFile",
    "LocalFolder",
    "at",
    "for_unpickling",
    "hash_of",
    "is_remote",
    "suffix_of",
]

HASH_BLOCK: Final = 1 << 20


class ChangedMeanwhile(UnreadableCheckpoint):
    """The file became another one while it was being read; starting over may help."""


@runtime_checkable
class ByteSource(Protocol):
    """The bytes of one weight file, by position. `str()` is what messages call it."""

    @property
    def name(self) -> str:
        """The file's own name, which ends in its extension."""

    @property
    def size(self) -> int:
        """Bytes."""

    @property
    def folder(self) -> Folder:
        """Where the file lies, with its neighbours."""

    @property
    def path(self) -> Path | None:
        """Where it is on this machine; `None` for a file that lies elsewhere."""

    def open(self) -> BufferedReader:
        """Return a stream that can seek; a read beyond the end gives fewer bytes."""

    def whole(self) -> Path:
        """Return a file of this machine that holds all of it; it is downloaded if need be."""

    def sha256(self) -> str:
        """Return the hash, hexadecimal; empty where it could be had by a download only."""

    @property
    def unhashed(self) -> str:
        """Why `sha256` would return nothing; empty where it would not."""


class Folder(ABC):
    """Files that lie together. `str()` is what messages call it."""

    @abstractmethod
    def find(self, name: str) -> ByteSource | None:
        """Return the file of that name, if there is one."""

    @abstractmethod
    def names(self) -> list[str]:
        """The files' names, sorted; none where the place cannot be listed."""


@dataclass(frozen=True)
class LocalFile:
    """A file of this machine."""

    path: Path

    def __str__(self) -> str:
        return str(self.path)

    @property
    def name(self) -> str:
        """The file's own name."""
        return self.path.name

    @cached_property
    def size(self) -> int:
        """Bytes."""
        return self.path.stat().st_size

    @property
    def folder(self) -> Folder:
        """The folder that it lies in."""
        return LocalFolder(self.path.parent)

    def open(self) -> BufferedReader:
        """Open it for reading.

        Raises:
            ChangedMeanwhile: since it was first opened it was written to or replaced.
        """
        file = self.path.open("rb")
        found = _stamp(file)
        if self.__dict__.setdefault("opened", found) != found:
            file.close()
            raise ChangedMeanwhile(f"{self} changed after it was opened. Open it again.")
        return file

    def whole(self) -> Path:
        """It is here."""
        return self.path

    def sha256(self) -> str:
        """Hash it."""
        return hash_of(self.path)

    @property
    def unhashed(self) -> str:
        """It can always be hashed."""
        return ""


@dataclass(frozen=True)
class LocalFolder(Folder):
    """A folder of this machine."""

    path: Path

    def __str__(self) -> str:
        return str(self.path)

    def find(self, name: str) -> ByteSource | None:
        """Return the file of that name, if there is one."""
        path = self.path / name
        return LocalFile(path) if path.is_file() else None

    def names(self) -> list[str]:
        """The files' names, sorted."""
        return sorted(path.name for path in self.path.iterdir() if path.is_file())


def _stamp(file: BufferedReader) -> tuple[int, int, int]:
    """Return what tells one file from another of its name."""
    status = os.fstat(file.fileno())
    return status.st_ino, status.st_size, status.st_mtime_ns


def at(path: Path) -> LocalFile | LocalFolder:
    """Return what lies at a path of this machine."""
    return LocalFolder(path) if path.is_dir() else LocalFile(path)


def suffix_of(name: str) -> str:
    """Return a file name's extension, lower case, with its dot."""
    return PurePosixPath(name).suffix.lower()


def hash_of(path: Path) -> str:
    """Return the SHA-256 of a file, hexadecimal."""
    import hashlib

    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(HASH_BLOCK):
            digest.update(block)
    return digest.hexdigest()


@contextmanager
def for_unpickling(source: ByteSource) -> Iterator[Any]:
    """Open a file so that a pickle in it cannot ask for more memory than the file is long."""
    with source.open() as stream:
        if source.path is None:  # remote streams are bounded by themselves
            yield stream
            return
        with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
            yield mapped


def is_remote(source: str) -> bool:
    """Whether this names a checkpoint that lies elsewhere: `timm:…`, `hf-hub:…`, a URL."""
    return re.match(r"(timm|hf-hub|hf_hub):|https?://", source, re.IGNORECASE) is not None
