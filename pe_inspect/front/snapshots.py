"""A folder → the checkpoints in it, in the order in which people count: one run's snapshots."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final

from pe_inspect.checkpoint_files import EXTRACTION, SUFFIXES, is_checkpoint_folder
from pe_inspect.errors import UnreadableCheckpoint, refused_as

__all__ = [
    "Snapshots",
    "checkpoints_in",
    "gallery_in",
    "history_beside",
    "natural",
    "snapshots_in",
]

HISTORY: Final = "evolution"


@dataclass(frozen=True)
class Snapshots:
    """The checkpoints of one run.

    Attributes:
        paths: in natural order of their names.
        epochs: the number in each name; `None` where names have none that grows.
    """

    paths: tuple[Path, ...]

    @property
    def epochs(self) -> tuple[int, ...] | None:
        """The last number in each name; `None` unless every name has one, and they grow."""
        return numbers([path.name.removesuffix(EXTRACTION) for path in self.paths])


def numbers(names: Sequence[str]) -> tuple[int, ...] | None:
    """Return the last number in each name, if all have one and they grow."""
    found = [re.findall(r"\d+", re.sub(r"\.[a-z]+$", "", name)) for name in names]
    if not all(found):
        return None
    values = tuple(int(each[-1]) for each in found)
    return values if all(a < b for a, b in pairwise(values)) else None


@refused_as(UnreadableCheckpoint)
def snapshots_in(folder: Path) -> Snapshots:
    """Return the snapshots of a run's folder, or the checkpoints of a plain one.

    Raises:
        UnreadableCheckpoint: there is no such folder, nothing in it, or it cannot be searched.
    """
    if not folder.is_dir():
        what = "a file" if folder.exists() else "not there"
        raise UnreadableCheckpoint(
            f"{folder} is {what}; evolution takes the folder of a run (with evolution/*{EXTRACTION}"
            " in it), or a folder of its checkpoints."
        )
    for place in (folder / HISTORY, folder):
        found = [path for path in place.glob(f"*{EXTRACTION}") if not path.name.startswith(".")]
        if found:
            return Snapshots(tuple(sorted(found, key=natural)))
    found = list(checkpoints_in(folder))
    if not found:
        raise UnreadableCheckpoint(
            f"{folder} holds no snapshots. Expected {HISTORY}/*{EXTRACTION}, as `pe-inspect train` "
            f"leaves them, or checkpoints ({', '.join(SUFFIXES)}, or folders that hold one)."
        )
    return Snapshots(tuple(found))


@refused_as(UnreadableCheckpoint)
def gallery_in(given: Sequence[str]) -> Path | None:
    """Return the folder, if one was named that holds several checkpoints and is none itself.

    Raises:
        UnreadableCheckpoint: it cannot be searched.
    """
    folder = Path(given[0]) if len(given) == 1 and given[0] else None
    if folder is None or not folder.is_dir() or is_checkpoint_folder(folder):
        return None
    found = list(checkpoints_in(folder))
    is_one_file = len(found) == 1 and found[0].is_file()  # `load` takes a folder's only weights
    return folder if found and not is_one_file else None


def history_beside(path: str | Path | None) -> Path | None:
    """Return the folder of a run's snapshots, if a checkpoint's file lies beside one."""
    if path is None:
        return None
    place = Path(path).parent / HISTORY
    return place if len(list(place.glob(f"*{EXTRACTION}"))) > 1 else None


def checkpoints_in(folder: Path) -> Iterator[Path]:
    """Yield weight files and checkpoint folders that lie in a folder, in natural order."""
    for path in sorted(folder.iterdir(), key=natural):
        if not path.name.startswith(".") and (is_weight_file(path) or is_checkpoint_folder(path)):
            yield path


def is_weight_file(path: Path) -> bool:
    """Whether a file's name is that of a checkpoint."""
    return path.suffix.lower() in SUFFIXES and path.is_file()


def natural(path: Path) -> tuple[list[tuple[int, str]], str]:
    """Return a key that orders names as people count: `epoch_2` before `epoch_10`."""
    parts = re.split(r"(\d+)", path.name.casefold())
    return [(int(p), "") if p.isdecimal() else (-1, p) for p in parts], path.name
