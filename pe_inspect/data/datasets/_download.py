"""Files that a dataset is made of: found on the disk, else downloaded, checked, and kept."""

from __future__ import annotations

import hashlib
import http.client
import shutil
import tarfile
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

from pe_inspect.errors import UsageError
from pe_inspect.files import write_atomically

__all__ = ["Archive", "fetch", "present"]

PATIENCE: Final = 30  # seconds without a byte
PIECE: Final = 2**20


@dataclass(frozen=True)
class Archive:
    """One file that its makers offer.

    Attributes:
        url: where it lies.
        md5: of its content, as torchvision has it.
    """

    url: str
    md5: str

    @property
    def name(self) -> str:
        """The last part of the URL."""
        return self.url.rpartition("/")[2]


def present(paths: Sequence[Path]) -> bool:
    """Whether all of these files are there."""
    return all(path.is_file() for path in paths)


def fetch(archive: Archive, folder: Path, what: str, layout: str) -> Path:
    """Download a file into `folder`, unless it lies there, and unpack it if it is a tar file.

    Args:
        archive: what to fetch.
        folder: where it goes.
        what: the dataset, for messages.
        layout: which files are expected where, for those who bring them themselves.

    Raises:
        UsageError: the network does not give it, or what came is another file.
    """
    path = folder / archive.name
    if not path.is_file():
        _download(archive, path, what, layout)
    elif _md5(path) != archive.md5:
        raise UsageError(
            f"{path} is not the {archive.name} of {what}: its MD5 is {_md5(path)}, and "
            f"{archive.md5} was expected. Remove it, to download it again, or put {layout}."
        )
    if archive.name.endswith(".tar.gz"):
        _unpack(path, folder)
    return path


def _download(archive: Archive, path: Path, what: str, layout: str) -> None:
    request = urllib.request.Request(archive.url, headers={"User-Agent": "pe-inspect"})  # noqa: S310
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:  # noqa: S310
            write_atomically(path, lambda file: _copy(answer, file, archive))
    except (urllib.error.URLError, http.client.HTTPException, TimeoutError, _Wrong) as error:
        raise UsageError(
            f"{what} is not in {path.parent}, and {archive.url} could not be downloaded "
            f"({_reason(error)}). Download it elsewhere and put {layout}."
        ) from error


class _Wrong(Exception):
    """What came is another file."""


def _copy(answer: Any, file: IO[bytes], archive: Archive) -> None:
    digest = hashlib.md5(usedforsecurity=False)
    while piece := answer.read(PIECE):
        digest.update(piece)
        file.write(piece)
    if digest.hexdigest() != archive.md5:
        raise _Wrong(f"its MD5 is {digest.hexdigest()}, and {archive.md5} was expected")


def _reason(error: Exception) -> str:
    reason = getattr(error, "reason", None)
    code = getattr(error, "code", None)
    return f"HTTP {code}" if code else str(reason or error or type(error).__name__)


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _unpack(path: Path, folder: Path) -> None:
    """Unpack a checked tar file beside itself, whole folders or none."""
    passing = folder / f".{path.name}.partial"
    shutil.rmtree(passing, ignore_errors=True)
    try:
        with tarfile.open(path) as archive:
            _extract(archive, passing)
        for entry in passing.iterdir():
            entry.replace(folder / entry.name)
    except (tarfile.TarError, OSError, EOFError) as error:
        raise UsageError(
            f"{path} cannot be unpacked ({error}); remove it, or make room."
        ) from error
    finally:
        shutil.rmtree(passing, ignore_errors=True)


def _extract(archive: tarfile.TarFile, folder: Path) -> None:
    """Write what lies inside a folder and nothing else; Python 3.11.4 learned to see to that.

    Raises:
        tarfile.TarError: an entry is no plain file or folder, or lies outside.
    """
    if hasattr(tarfile, "data_filter"):
        archive.extractall(folder, filter="data")
        return
    inside = folder.resolve()
    for entry in archive:
        is_plain = entry.isfile() or entry.isdir()
        if not is_plain or not (inside / entry.name).resolve().is_relative_to(inside):
            raise tarfile.TarError(f"it holds {entry.name!r}, which is not a file inside it")
    archive.extractall(folder)  # noqa: S202  # every entry was looked at
