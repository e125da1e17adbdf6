"""Files are written whole or not at all, and nothing that is not ours is overwritten."""

from __future__ import annotations

import json
import os
import secrets
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final

from pe_inspect.errors import OutputError

__all__ = ["OutputFolder", "write_atomically"]

MANIFEST: Final = ".pe-inspect.json"


def write_atomically(
    path: Path, write: Callable[[IO[bytes]], Any], *, durable: bool = True
) -> Path:
    """Call `write` with a file beside `path`, then move that file onto `path`.

    A crash, a full disk or Ctrl-C leaves whatever stood at `path` as it was.

    Args:
        path: where the file is to stand; its folder is made where it is missing.
        write: is handed the new file, opened for writing bytes.
        durable: wait until the disk holds the content, so that a power cut cannot lose it.

    Raises:
        OutputError: the folder cannot be written, or the disk is full.
    """
    temporary = path.with_name(f".{secrets.token_hex(6)}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("xb") as file:
            write(file)
            file.flush()
            if durable:
                os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise OutputError(_explain(path, error)) from error
    finally:
        _remove(temporary)
    return path


def _remove(temporary: Path) -> None:
    try:
        temporary.unlink(missing_ok=True)
    except OSError:  # the folder itself cannot be reached: there is nothing of ours in it
        return


def _explain(path: Path, error: OSError) -> str:
    reason = error.strerror or str(error)
    return f"Cannot write {path}: {reason}. Nothing was left half-written; choose another --out."


@dataclass
class OutputFolder:
    """A folder of results, with a manifest of what earlier runs made there.

    Attributes:
        path: the folder.
        force: overwrite anything; without it only files in the manifest are replaced.
    """

    path: Path
    force: bool = False
    written: list[Path] = field(default_factory=list)

    def claim(self, names: Iterable[str]) -> None:
        """Stop, before any computing, if the folder cannot take files of these names.

        Raises:
            OutputError: some file would be overwritten that is not ours, or nothing can be
                written there.
        """
        self._probe()
        self._refuse_foreign(names)

    def write(self, name: str, write: Callable[[IO[bytes]], Any]) -> Path:
        """Write one file whole, and enter it in the manifest.

        Raises:
            OutputError: the file is not ours to replace, or cannot be written.
        """
        self._refuse_foreign([name])
        path = write_atomically(self.path / name, write)
        self._remember(name)
        self.written.append(path)
        return path

    def _probe(self) -> None:
        """Try to write where the folder is, or where it would be made."""
        there = next(p for p in (self.path, *self.path.absolute().parents) if os.path.lexists(p))
        if not there.is_dir():
            raise OutputError(f"{there} is a file; --out takes a folder.")
        try:
            with tempfile.TemporaryFile(dir=there):
                return
        except OSError as error:
            raise OutputError(_explain(self.path, error)) from error

    def _refuse_foreign(self, names: Iterable[str]) -> None:
        if not self.path.is_dir():
            return
        ours = self._ours()
        foreign = sorted(n for n in names if n not in ours and os.path.lexists(self.path / n))
        if foreign and not self.force:
            raise OutputError(
                f"{self.path / foreign[0]} exists and was not made by pe-inspect"
                f"{_and_more(foreign)}. Pass --force to overwrite, or another --out."
            )

    def _ours(self) -> set[str]:
        try:
            return set(json.loads((self.path / MANIFEST).read_text(encoding="utf-8"))["files"])
        except (OSError, ValueError, KeyError, TypeError):
            return set()

    def _remember(self, name: str) -> None:
        """Enter a name at once, so that a run that is cut short leaves no foreign files.

        The manifest can be made again, and a run writes it once a file: it need not be durable.
        """
        ours = self._ours()
        if name in ours:
            return
        content = json.dumps({"made by": "pe-inspect", "files": sorted({*ours, name})}, indent=1)
        write_atomically(
            self.path / MANIFEST, lambda file: file.write(content.encode()), durable=False
        )


def _and_more(names: list[str]) -> str:
    return f" (nor were {len(names) - 1} more)" if len(names) > 1 else ""
