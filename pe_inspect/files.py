"""Files are written whole or not at all, and nothing that is not ours is overwritten."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import IO, Any, Final

from pe_inspect.bounded import is_file_name, json_in
from pe_inspect.errors import OutputError, printable
from pe_inspect.partial_files import partial_beside, sweep

__all__ = ["OutputFolder", "write_atomically"]

MANIFEST: Final = ".pe-inspect.json"


def write_atomically(
    path: Path,
    write: Callable[[IO[bytes]], Any],
    *,
    durable: bool = True,
    option: str = "--out",
) -> Path:
    """Call `write` with a file beside `path`, then move that file onto `path`.

    A crash, a full disk or Ctrl-C leaves whatever stood at `path` as it was. What a killed run left
    half-written in that folder is removed by the next one that writes there.

    Args:
        path: where the file is to stand; its folder is made where it is missing.
        write: is handed the new file, opened for writing bytes.
        durable: wait until the disk holds the content, so that a power cut cannot lose it.
        option: what named the place on the command line: messages name it.

    Raises:
        OutputError: the folder cannot be written, or the disk is full.
    """
    temporary = partial_beside(path)
    sweep(path)
    try:
        with _explained(path, option):
            path.parent.mkdir(parents=True, exist_ok=True)
            with temporary.open("xb") as file:
                write(file)
                file.flush()
                if durable:
                    os.fsync(file.fileno())
            temporary.replace(path)
    finally:
        _remove(temporary)
    return path


def _remove(temporary: Path) -> None:
    try:
        temporary.unlink(missing_ok=True)
    except OSError:  # the folder itself cannot be reached: there is nothing of ours in it
        return


@contextmanager
def _explained(path: Path, option: str) -> Iterator[None]:
    """Say what could not be written, and what to choose another of.

    Raises:
        OutputError: for whatever the system refused.
    """
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise OutputError(
            f"Cannot write {path}: {reason}. Nothing was left half-written; choose another "
            f"{option}."
        ) from error


@dataclass
class OutputFolder:
    """A folder of results, with a manifest of what earlier runs made there.

    A single file that an option names is written into the folder that it lies in.

    Attributes:
        path: the folder.
        force: overwrite anything; without it only files in the manifest are replaced.
        written: what this run has written.
        option: what named the place on the command line: messages name it.
    """

    path: Path
    force: bool = False
    written: list[Path] = field(default_factory=list)
    option: str = "--out"

    def claim(self, names: Iterable[str]) -> None:
        """Stop, before any computing, if the folder cannot take files of these names.

        Raises:
            OutputError: some file would be overwritten that is not ours, or nothing can be
                written there.
        """
        with _explained(self.path, self.option):
            self._probe()
        self._refuse_foreign(names)

    def claim_matching(self, patterns: Iterable[str]) -> None:
        """Do as `claim`, for patterns of names: `*` stands for any letters.

        Raises:
            OutputError: as `claim`.
        """
        wanted = list(patterns)
        self.claim([])
        self._refuse_foreign(
            name for name in self._names() if any(fnmatchcase(name, each) for each in wanted)
        )

    def write(self, name: str, write: Callable[[IO[bytes]], Any]) -> Path:
        """Write one file whole, and enter it in the manifest.

        Raises:
            OutputError: the file is not ours to replace, or cannot be written.
        """
        if not is_file_name(name):
            raise OutputError(f"{printable(name)!r} is no file name; expected one part of a path.")
        self._refuse_foreign([name])
        path = write_atomically(self.path / name, write, option=self.option)
        self.remember(name)
        self.written.append(path)
        return path

    def _probe(self) -> None:
        """Try to write where the folder is, or where it would be made."""
        there = next(p for p in (self.path, *self.path.absolute().parents) if _stands(p))
        if not there.is_dir():
            raise OutputError(f"{there} is a file; {self.option} needs a folder there.")
        with tempfile.TemporaryFile(dir=there):
            return

    def _refuse_foreign(self, names: Iterable[str]) -> None:
        ours = self._ours()
        foreign = sorted(name for name in names if name not in ours and self._holds(name))
        if foreign and not self.force:
            raise OutputError(
                f"{self.path / foreign[0]} exists and was not made by pe-inspect"
                f"{_and_more(foreign)}. Pass --force to overwrite, or another {self.option}."
            )

    def _names(self) -> list[str]:
        with _explained(self.path, self.option):
            return [path.name for path in self.path.iterdir()] if self.path.is_dir() else []

    def _holds(self, name: str) -> bool:
        with _explained(self.path / name, self.option):
            return _stands(self.path / name)

    def _ours(self) -> set[str]:
        try:
            return set(json_in(self.path / MANIFEST)["files"])
        except (OSError, ValueError, KeyError, TypeError):
            return set()

    def remember(self, name: str) -> None:
        """Enter a name at once, so that a run that is cut short leaves no foreign files.

        The manifest can be made again, and a run writes it once a file: it need not be durable.
        """
        ours = self._ours()
        if name in ours:
            return
        content = json.dumps({"made by": "pe-inspect", "files": sorted({*ours, name})}, indent=1)
        write_atomically(
            self.path / MANIFEST,
            lambda file: file.write(content.encode()),
            durable=False,
            option=self.option,
        )


def _stands(path: Path) -> bool:
    """Whether anything is there, be it a link to nowhere; what the system refuses is raised."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def _and_more(names: list[str]) -> str:
    return f" (nor were {len(names) - 1} more)" if len(names) > 1 else ""
