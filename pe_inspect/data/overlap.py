"""Images that a test split shares with the training images, to the pixel."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Final

import numpy as np

from pe_inspect.data.dataset import Split

__all__ = ["file_overlap_note", "overlap_note"]

MOST_COMPARED: Final = 1000
"""Test files that are compared where images are not held: every training file's size is asked."""


def overlap_note(
    train: Split, test: Split, train_files: Sequence[Path], test_files: Sequence[Path]
) -> str:
    """Return how many test images were trained on, and the first of them; empty for none.

    Args:
        train: images that are held.
        test: likewise.
        train_files: where each came from.
        test_files: likewise.
    """
    known = {_digest(image): i for i, image in enumerate(train.images)}
    found = [(i, known.get(_digest(image))) for i, image in enumerate(test.images)]
    shared = [(i, j) for i, j in found if j is not None]
    if not shared:
        return ""
    first, its_twin = shared[0]
    contrary = sum(test.labels[i] != train.labels[j] for i, j in shared)
    other = f"; {contrary} of them under another class" if contrary else ""
    return (
        f"{len(shared):,} of {len(test):,} test images are among the training images, to the "
        f"pixel, e.g. {test_files[first]} and {train_files[its_twin]}{other}. Those that were "
        "learned flatter the accuracy"
    )


def file_overlap_note(train_files: Sequence[Path], test_files: Sequence[Path]) -> str:
    """Say how many test files are among the training files, byte for byte.

    Sizes are compared first, so that few files are read. Of many test files, some are compared,
    evenly spaced. The same image that was saved anew is not recognised.

    Args:
        train_files: the images that are trained on.
        test_files: those that are tested on.
    """
    step = max(1, -(-len(test_files) // MOST_COMPARED))
    asked = test_files[::step]
    which = f"{len(asked):,} of {len(test_files):,} test files" if step > 1 else (
        f"{len(test_files):,} test files"
    )  # fmt: skip
    sizes = {file.stat().st_size for file in asked}
    known = {_file_digest(file): file for file in train_files if file.stat().st_size in sizes}
    found = [(file, known[d]) for file in asked if (d := _file_digest(file)) in known]
    if not found:
        return f"{which} were compared with the training files: none is one of them, byte for byte"
    first, its_twin = found[0]
    return (
        f"{which} were compared with the training files: {len(found):,} are among them, byte for "
        f"byte, e.g. {first} and {its_twin}. Those that were learned flatter the accuracy"
    )


def _file_digest(file: Path) -> bytes:
    return blake2b(file.read_bytes(), digest_size=16).digest()


def _digest(image: np.ndarray) -> bytes:
    return blake2b(np.ascontiguousarray(image).data, digest_size=16).digest()
