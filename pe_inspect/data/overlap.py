"""Images that a test split shares with the training images, to the pixel."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path

import numpy as np

from pe_inspect.data.dataset import Split

__all__ = ["overlap_note"]


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


def _digest(image: np.ndarray) -> bytes:
    return blake2b(np.ascontiguousarray(image).data, digest_size=16).digest()
