"""A file behind a URL, and the folder that it lies in, as formats know them."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Final
from urllib.parse import quote, unquote, urlsplit

from pe_inspect.bounded import is_file_name, parsed_json
from pe_inspect.loading.byte_source import ByteSource, Folder, hash_of
from pe_inspect.loading.remote.addresses import shown
from pe_inspect.loading.remote.fetching import Fetcher, NotCached
from pe_inspect.loading.remote.http import Lines
from pe_inspect.loading.remote.refusals import Absent, Closed
from pe_inspect.loading.remote.settings import endpoint, offline_by
from pe_inspect.loading.transfer import Reporter
from pe_inspect.loading.wire.positioned import BoundedReader, PositionedBytes

__all__ = ["HubFolder", "RemoteFile", "WebFolder"]

COMMIT: Final = re.compile(r"[0-9a-f]{40}")
LARGEST_LISTING: Final = 1 << 24


class RemoteFile:
    """A file behind a URL. Of its bytes those are fetched that are read.

    Args:
        url: its address.
        what: what messages call it.
        folder: where it lies.
        lines: the connections.
        reporter: who is told of transfers.

    Raises:
        UnreadableCheckpoint: the server does not give it, or cannot be reached.
    """

    path = None

    def __init__(
        self, url: str, what: str, folder: Folder, lines: Lines, reporter: Reporter
    ) -> None:
        self.name = unquote(urlsplit(url).path).rpartition("/")[2]
        self.folder = folder
        self._what = what
        self._fetcher = Fetcher(url, what, lines, reporter)
        self._fetcher.begin()

    def __str__(self) -> str:
        return self._what

    @property
    def size(self) -> int:
        """Bytes, as the server states it."""
        return self._fetcher.about.size

    @property
    def commit(self) -> str:
        """The revision that the hub found it in; empty elsewhere."""
        return self._fetcher.about.commit

    def open(self) -> io.BufferedReader:
        """Return a stream over it; what is read is fetched, or taken from the cache."""
        return BoundedReader(_Bytes(self))

    def read_into(self, start: int, buffer: memoryview) -> int:
        """Fill `buffer` from byte `start` on; return how many bytes there were."""
        count = min(len(buffer), self.size - start)
        if count <= 0:
            return 0
        self._fetcher.ensure(start, start + count)
        return self._fetcher.store.read_into(start, buffer[:count])

    def whole(self) -> Path:
        """Download what is missing; return the file in the cache."""
        self._fetcher.ensure_all()
        return self._fetcher.store.path

    def sha256(self) -> str:
        """Return what the hub states, else the hash of a copy that is here whole, else nothing."""
        about, store = self._fetcher.about, self._fetcher.store
        if about.sha256 or store.missing(0, about.size):
            return about.sha256
        return hash_of(store.path)

    @property
    def unhashed(self) -> str:
        """Why `sha256` is empty; empty where it is not."""
        about = self._fetcher.about
        if about.sha256 or not self._fetcher.store.missing(0, about.size):
            return ""
        return "sha256 is empty: the server does not state it, and the file was not downloaded"


class _Bytes(PositionedBytes):
    """A position in a remote file."""

    def __init__(self, file: RemoteFile) -> None:
        super().__init__()
        self.file = file

    @property
    def size(self) -> int:
        return self.file.size

    def read_into(self, start: int, buffer: memoryview) -> int:
        return self.file.read_into(start, buffer)


class WebFolder(Folder):
    """Where a URL's file lies. What a server refuses beside it is simply not there.

    Args:
        base: the address up to the last slash.
        lines: the connections.
        reporter: who is told of transfers.
    """

    def __init__(self, base: str, lines: Lines, reporter: Reporter) -> None:
        self._base, self._lines, self._reporter = base, lines, reporter

    def __str__(self) -> str:
        return shown(self._base)

    def find(self, name: str) -> ByteSource | None:
        """Return the file beside; servers without one may answer with a page of their own."""
        try:
            found = self.file(self._base + quote(name))
        except (Closed, NotCached):
            return None
        with found.open() as stream:
            is_page = name.endswith(".json") and not stream.read(64).lstrip().startswith(b"{")
        return None if is_page else found

    def names(self) -> list[str]:
        """The web lists no folders."""
        return []

    def file(self, url: str) -> RemoteFile:
        """Open a file of this folder."""
        return RemoteFile(url, shown(url), self, self._lines, self._reporter)


class HubFolder(Folder):
    """A repository of the hub at one revision; all files are read from the commit found first.

    Args:
        repo: `ORG/NAME`.
        revision: a branch, tag or commit.
        what: what messages call it.
        lines: the connections.
        reporter: who is told of transfers.
    """

    def __init__(
        self, repo: str, revision: str, what: str, lines: Lines, reporter: Reporter
    ) -> None:
        self._repo, self._revision, self._what = repo, revision, what
        self._lines, self._reporter = lines, reporter
        self._is_pinned = COMMIT.fullmatch(revision) is not None

    def __str__(self) -> str:
        return self._what

    def find(self, name: str) -> ByteSource | None:
        """Return a file of the repository.

        Raises:
            UnreadableCheckpoint: the repository is closed or not there, or cannot be reached.
        """
        try:
            found = self._file(f"{self._repo}/resolve/{self._at()}/{quote(name)}", name)
        except (Absent, NotCached):
            return None
        self._pin(found.commit)
        return found

    def names(self) -> list[str]:
        """Return the repository's files; asked only where none has a usual name.

        Raises:
            UnreadableCheckpoint: the hub is out of reach, or lists nothing.
        """
        if offline_by():
            raise NotCached(
                f"{self._what}: it is not in the cache, and {offline_by()} forbids the network. "
                "Unset it, or give a file."
            )
        listing = self._file(f"api/models/{self._repo}/revision/{self._at()}", "list of files")
        if listing.size > LARGEST_LISTING:
            return []
        try:
            files = parsed_json(listing.open().read())["siblings"]
            names = (file["rfilename"] for file in files)
            return sorted(name for name in names if all(map(is_file_name, name.split("/"))))
        except (ValueError, KeyError, TypeError, AttributeError):
            return []

    def _file(self, path: str, name: str) -> RemoteFile:
        what = f"{self._what} ({name})"
        return RemoteFile(f"{endpoint()}/{path}", what, self, self._lines, self._reporter)

    def _at(self) -> str:
        return quote(self._revision, safe="")

    def _pin(self, commit: str) -> None:
        """Read the other files from the commit that the first one came from."""
        if not self._is_pinned and COMMIT.fullmatch(commit):
            self._reporter.note(f"{self._what}: commit {commit} was read")
            self._revision, self._is_pinned = commit, True
