"""SSDC: the rank correlation of a map's affinities with the nearness of its patches.

8 million pairs of a 64×64 grid are ranked exactly: affinity and offset are packed into one whole
number each, sorted in place, and what follows is summed by offset. Distances depend on the offset
alone, so that their ranks need no sorting of pairs.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

import numpy as np

from pe_inspect.analysis.structure.offset_profile import offsets_of, row_windows, strip_offsets
from pe_inspect.arrays import Float, Float32, Int, Shaped

__all__ = ["DistanceCorrelation", "distance_correlation"]

CHUNK: Final = 1 << 20  # pairs that are ranked at a time
OFFSET: Final = np.uint64(0xFFFFFFFF)  # the lower half of a packed number
SIGN: Final = np.uint32(1 << 31)


class DistanceCorrelation(NamedTuple):
    """Spearman's correlation of affinity with −distance, over pairs i < j.

    Attributes:
        l1: rows and columns added.
        l2: Euclidean.
    """

    l1: float
    l2: float


def distance_correlation(
    values: Float32[np.ndarray, "patches patches"], sides: tuple[int, ...]
) -> DistanceCorrelation:
    """Return the SSDC of a map; NaN where it or all distances are constant.

    Args:
        values: the map, query by key; undefined pairs are NaN, and left out.
        sides: of the grid.

    Source: arXiv:2606.00124, SSDC.
    """
    ranked = _ranked(_packed(values, sides), sides)
    offsets = np.abs(offsets_of(sides)).reshape(len(sides), -1)
    squared = (offsets**2).sum(axis=0)
    return DistanceCorrelation(*(_spearman(ranked, by) for by in (offsets.sum(axis=0), squared)))


class _Ranked(NamedTuple):
    """The ranks of all pairs by offset: how many there are, their sum, and the sum of squares."""

    counts: Float[np.ndarray, " offsets"]
    sums: Float[np.ndarray, " offsets"]
    squares: float


def _packed(
    values: Float32[np.ndarray, "patches patches"], sides: tuple[int, ...]
) -> Shaped[np.ndarray, " pairs"]:
    """Every defined pair i < j as one number: its affinity above, its offset below."""
    patches, place = len(values), strip_offsets(sides).astype(np.uint64)
    keys, filled = np.empty(patches * (patches - 1) // 2, np.uint64), 0
    strips = np.split(values, sides[0])
    for start, strip, window in zip(range(0, patches, len(strips[0])), strips, row_windows(sides)):
        queries = np.arange(start, start + len(strip))
        wanted = ((np.arange(patches) > queries[:, None]) & np.isfinite(strip)).ravel()
        known = _ordered(strip.ravel()[wanted]).astype(np.uint64) << np.uint64(32)
        known |= place[wanted] + np.uint64(window.start)
        keys[filled : filled + len(known)] = known
        filled += len(known)
    return keys[:filled]


def _ordered(values: Float32[np.ndarray, " pairs"]) -> Shaped[np.ndarray, " pairs"]:
    """Whole numbers in the order of the values."""
    bits = (values + np.float32(0)).view(np.uint32)  # −0 becomes 0
    return np.where(bits & SIGN, ~bits, bits | SIGN)


def _ranked(keys: Shaped[np.ndarray, " pairs"], sides: tuple[int, ...]) -> _Ranked:
    keys.sort()
    size = int(np.prod([2 * side - 1 for side in sides]))
    counts, sums, squares = np.zeros(size), np.zeros(size), 0.0
    for start, stop in _chunks(keys):
        part = keys[start:stop]
        ranks = start + _mean_ranks((part >> np.uint64(32)).astype(np.uint32))
        offsets = (part & OFFSET).astype(np.int64)
        counts += np.bincount(offsets, minlength=size)
        sums += np.bincount(offsets, weights=ranks, minlength=size)
        squares += float(ranks @ ranks)
    return _Ranked(counts, sums, squares)


def _chunks(keys: Shaped[np.ndarray, " pairs"]) -> Iterator[tuple[int, int]]:
    """Parts of the sorted pairs; those of equal affinity are never in two of them."""
    start = 0
    while start < len(keys):
        last = keys[min(start + CHUNK, len(keys)) - 1]
        stop = int(np.searchsorted(keys, last | OFFSET, side="right"))
        yield start, stop
        start = stop


def _mean_ranks(ordered: Shaped[np.ndarray, " pairs"]) -> Float[np.ndarray, " pairs"]:
    """The ranks of sorted values, from 0; equal ones share their mean."""
    starts = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1]))
    lengths = np.diff(np.append(starts, len(ordered)))
    return np.repeat(starts + (lengths - 1) / 2, lengths)


def _spearman(ranked: _Ranked, distance: Int[np.ndarray, " offsets"]) -> float:
    _, which = np.unique(distance, return_inverse=True)
    counts = np.bincount(which, weights=ranked.counts)
    ranks = (np.cumsum(counts) - (counts + 1) / 2)[which]
    pairs = float(ranked.counts.sum())
    middle = pairs * ((pairs - 1) / 2) ** 2
    of_distance = float(ranked.counts @ ranks**2) - middle
    of_affinity = ranked.squares - middle
    if min(of_distance, of_affinity) <= 1e-12 * middle or not pairs:
        return float("nan")
    return float(-(ranked.sums @ ranks - middle) / np.sqrt(of_distance * of_affinity))
