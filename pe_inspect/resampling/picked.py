"""Rules that pick rows of a table and mix none: buckets, cuts from the middle, tiles."""

from __future__ import annotations

from typing import Final

import numpy as np

from pe_inspect.arrays import Float, Int
from pe_inspect.errors import UsageError
from pe_inspect.resampling.methods.torch_modes import bilinear
from pe_inspect.resampling.resampler import Separable, Size, Table

__all__ = [
    "bucket_by_shares", "bucket_by_steps", "cut_or_bilinear", "middle", "middle_from_halves",
    "tiled_and_cut",
]  # fmt: skip


def _rows(cells: Int[np.ndarray, " target"], source: int) -> Float[np.ndarray, "target source"]:
    chosen: np.ndarray = np.eye(source)[cells]
    return chosen


def _bucketed(places: Float[np.ndarray, " target"], source: int) -> Int[np.ndarray, " target"]:
    """The interval of [0, 1) in which each place lies; 1/n, 2/n, … begin the next one.

    All in float32, whose rounding decides where a place falls upon a boundary.
    """
    step = 1 / source
    count = int(np.ceil((1 - step) / step))
    boundaries = (step + np.arange(count) * step).astype(np.float32)
    cells = np.searchsorted(boundaries, places, side="right")
    kept: np.ndarray = np.minimum(cells, source - 1)
    return kept


def _by_steps(source: int, target: int, exact: bool) -> Float[np.ndarray, "target source"]:
    del exact  # its code has no other precision than float32
    places = np.arange(target, dtype=np.float32) * (np.float32(1) / np.float32(target))
    return _rows(_bucketed(np.minimum(places, np.float32(1 - 1e-6)), source), source)


def _by_shares(source: int, target: int, exact: bool) -> Float[np.ndarray, "target source"]:
    del exact
    places = np.arange(target, dtype=np.float32) / np.float32(target)
    return _rows(_bucketed(places, source), source)


def _middle(source: int, target: int, exact: bool) -> Float[np.ndarray, "target source"]:
    del exact
    return _rows((source - target) // 2 + np.arange(target), source)


def _from_halves(source: int, target: int, exact: bool) -> Float[np.ndarray, "target source"]:
    del exact
    return _rows(source // 2 - target // 2 + np.arange(target), source)


def _not_larger(table: Table, size: Size) -> None:
    rows, columns = table.shape[:2]
    if size[0] > rows or size[1] > columns:
        raise UsageError(
            f"This model cuts its grid out of the middle of a table of {rows}×{columns}, which "
            f"has no {size[0]}×{size[1]}. Pass a --grid of at most {rows}x{columns}, or another "
            "--method, such as bicubic."
        )


def _cut_or_bilinear(source: int, target: int, exact: bool) -> Float[np.ndarray, "target source"]:
    if target > source:
        return bilinear.axis(source, target, exact)
    return _from_halves(source, target, exact)


def _tiled_and_cut(source: int, target: int, exact: bool) -> Float[np.ndarray, "target source"]:
    del exact
    return _rows(np.arange(target) % source, source)


bucket_by_steps: Final = Separable("buckets", _by_steps)
"""Place i of n is i · (1/n)."""
bucket_by_shares: Final = Separable("buckets-by-shares", _by_shares)
"""Place i of n is i/n: rounded otherwise, it can fall on the other side of a boundary."""
middle: Final = Separable("middle", _middle, _not_larger)
middle_from_halves: Final = Separable("middle-from-halves", _from_halves, _not_larger)
"""As `middle`, but for an odd table and an even grid, or the reverse: half of each is rounded."""
cut_or_bilinear: Final = Separable("cut-or-bilinear", _cut_or_bilinear)
"""An axis that becomes shorter is cut from the middle; one that becomes longer is resampled."""
tiled_and_cut: Final = Separable("tiled-and-cut", _tiled_and_cut)
"""As many copies as are needed, of which the first rows and columns are kept."""
