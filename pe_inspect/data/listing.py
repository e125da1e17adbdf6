"""Which files of a folder are the images of a split, and which are left out."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pe_inspect.errors import UsageError

__all__ = ["LAYOUT", "SUFFIXES", "Listed", "class_folders", "is_hidden"]

# What torchvision's ImageFolder reads, and nothing else: the same folder is the same set in both.
SUFFIXES: Final = frozenset(
    {".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp"}
)
KNOWN: Final = ", ".join(sorted(SUFFIXES))
LAYOUT: Final = "Expected train/<class>/* and test/<class>/* with one image a file."
NAMED: Final = 8  # classes or hidden folders that a note names


def class_folders(split: Path) -> tuple[str, ...]:
    """Return the classes of a split by name: its folders, but for hidden ones."""
    folders = (entry.name for entry in split.iterdir() if entry.is_dir())
    return tuple(sorted(name for name in folders if not is_hidden(name)))


@dataclass(frozen=True)
class Listed:
    """The files of one split, in the order of their classes and names.

    Attributes:
        folder: of the split.
        files: its images.
        labels: their class numbers.
        notes: what was left out, and which classes have no image here.
    """

    folder: Path
    files: list[Path]
    labels: list[int]
    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, split: Path, classes: tuple[str, ...]) -> Listed:
        """List a split, which may lack a class that the training images have.

        Raises:
            UsageError: there is one class only, or the folder of one holds no image.
        """
        if len(classes) < 2:
            raise UsageError(
                f"{split} has one class only, {classes[0]!r}: there is nothing to tell apart. "
                "Add a folder for each further class."
            )
        hidden, others = _left_out(split)
        found = [_images(split / name) for name in classes]
        labels = [label for label, files in enumerate(found) for _ in files]
        missing = [name for name, files in zip(classes, found) if not files]
        notes = (*_notes_of(split, hidden, others), *_missing(split, missing, len(classes)))
        return cls(split, [file for files in found for file in files], labels, notes)


def _images(folder: Path) -> list[Path]:
    """Return a class's images by name; a split may lack a class, but its folder holds some."""
    if not folder.is_dir():
        return []
    kinds: Counter[str] = Counter()
    found = []
    for file in _visible_files(folder):
        kinds[_kind(file)] += 1
        if _kind(file) in SUFFIXES:
            found.append(file)
    if not found:
        there = f"; there are {_counted(kinds)}" if kinds else ""
        raise UsageError(f"{folder} holds no image ({KNOWN}){there}. Put some there, or remove it.")
    return sorted(found)


def _visible_files(folder: Path) -> Iterator[Path]:
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not is_hidden(name)]
        yield from (Path(place) / name for name in names if not is_hidden(name))


def _left_out(split: Path) -> tuple[list[str], Counter[str]]:
    """Return the hidden folders and files, and how many others of each kind are no images here."""
    hidden: list[str] = []
    others: Counter[str] = Counter()
    for place, folders, names in os.walk(split):
        where = Path(place).relative_to(split)
        hidden += [str(where / name) for name in (*folders, *names) if is_hidden(name)]
        folders[:] = [name for name in folders if not is_hidden(name)]
        kinds = (_kind(Path(name)) for name in names if not is_hidden(name))
        beside = Path(place) == split
        others.update(
            f"{kind} beside the class folders" if beside else kind
            for kind in kinds
            if beside or kind not in SUFFIXES
        )
    return sorted(hidden), others


def _notes_of(split: Path, hidden: list[str], others: Counter[str]) -> Iterator[str]:
    if others:
        count = sum(others.values())
        yield (
            f"{split}: {count:,} file{'s were' if count > 1 else ' was'} left out: "
            f"{_counted(others)}. Read are {KNOWN}, as by torchvision's ImageFolder"
        )
    if hidden:
        many = len(hidden) > 1
        yield f"{split}: hidden, and left out, {'are' if many else 'is'} {_named(hidden)}"


def _missing(split: Path, missing: list[str], count: int) -> Iterator[str]:
    if missing:
        yield (
            f"{split} has no image of {len(missing)} of the {count} classes: {_named(missing)}. "
            "What is measured there says nothing of them"
        )


def _counted(kinds: Counter[str]) -> str:
    return ", ".join(f"{number:,} {kind}" for kind, number in sorted(kinds.items()))


def _named(names: Iterable[str]) -> str:
    some = list(names)
    more = f" and {len(some) - NAMED} more" if len(some) > NAMED else ""
    return ", ".join(some[:NAMED]) + more


def _kind(file: Path) -> str:
    return file.suffix.lower() or "without an ending"


def is_hidden(name: str) -> bool:
    """Whether a file or a folder is hidden: `.ipynb_checkpoints`, `._0.jpg`."""
    return name.startswith(".")
