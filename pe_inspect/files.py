"""Files are written whole or not at all, and nothing that is not ours is overwritten."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final

from pe_inspect.errors import OutputError

__all__ = ["OutputFolder", "write_atomically"]

MANIFEST: Final = ".pe-inspect.json"


def write_atomically(path: Path, write: Callable[[IO[bytes]], Any]) -> Path:
    """Call `write` with a file beside `path`, then move that file onto `path`.

    A crash, a full disk or Ctrl-C leaves whatever stood at `path` as it was.

    Raises:
        OutputError: the folder cannot be written, or the disk is full.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("xb") as file:
            write(file)
            file.flush()
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
        """Stop, before any computing, if a file of these names exists that is not ours.

        Raises:
            OutputError: some file would be overwritten, or the folder is not a folder.
        """
        if self.path.exists() and not self.path.is_dir():
            raise OutputError(f"{self.path} is a file; --out takes a folder.")
        foreign = sorted(n for n in names if (self.path / n).exists() and n not in self._ours())
        if foreign and not self.force:
            raise OutputError(
                f"{self.path / foreign[0]} exists and was not made by pe-inspect"
                f"{_and_more(foreign)}. Pass --force to overwrite, or another --out."
            )

    def write(self, name: str, write: Callable[[IO[bytes]], Any]) -> Path:
        """Write one file whole, and enter it in the manifest."""
        self.claim([name])
        path = write_atomically(self.path / name, write)
        self._remember(name)
        self.written.append(path)
        return path

    def _ours(self) -> set[str]:
        try:
            return set(json.loads((self.path / MANIFEST).read_text(encoding="utf-8"))["files"])
        except (OSError, ValueError, KeyError, TypeError):
            return set()

    def _remember(self, name: str) -> None:
        names = sorted(self._ours() | {name})
        content = json.dumps({"made by": "pe-inspect", "files": names}, indent=1).encode()
        write_atomically(self.path / MANIFEST, lambda file: file.write(content))


def _and_more(names: list[str]) -> str:
    return f" (nor were {len(names) - 1} more)" if len(names) > 1 else ""
