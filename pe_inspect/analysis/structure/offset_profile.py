"""What an affinity map says by offset: the mean over all pairs of patches that are as far apart.

A grid is given by its sides: (H, W), or (H, T, W) with the frames of a row side by side. An offset
is that of the key from the query, on every axis: down and right are positive.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache, reduce
from math import prod
from typing import Final

import numpy as np

from pe_inspect.arrays import Float, Float32, Int

__all__ = [
    "ROUNDING",
    "OffsetProfile",
    "by_distance",
    "offset_profile",
    "offsets_of",
    "pair_counts",
    "row_windows",
    "strip_offsets",
]

ROUNDING: Final = 4 * float(np.finfo(np.float32).eps)  # of a value, relative to the largest


@dataclass(frozen=True, eq=False)
class OffsetProfile:
    """An affinity map by offset.

    Attributes:
        sides: of the grid.
        mean: the mean over the defined pairs of each offset, (2·side − 1, …); NaN where none is.
        counts: how many pairs are defined.
        squares: the sum of squares over the defined pairs of two different patches.
        largest: the largest |affinity|.
    """

    sides: tuple[int, ...]
    mean: Float[np.ndarray, "..."]
    counts: Float[np.ndarray, "..."]
    squares: float
    largest: float

    @property
    def is_constant(self) -> bool:
        """Whether all pairs of different patches have one affinity, but for rounding."""
        return not self._spread > (ROUNDING * self.largest) ** 2

    @property
    def varies(self) -> bool:
        """Whether offsets have different means, that of a patch with itself included."""
        found = self.mean[np.isfinite(self.mean)]
        return found.size > 1 and float(np.ptp(found)) > ROUNDING * self.largest

    @property
    def deviation(self) -> float:
        """The standard deviation over pairs of different patches, in the map's own unit."""
        return float(np.sqrt(max(self._spread, 0.0)))

    @property
    def explained(self) -> float:
        """The share of the variance over pairs of different patches that the offset explains."""
        if self.is_constant:
            return float("nan")
        between = self._over_pairs(self.mean**2) / self._pairs - self._centre**2
        return float(min(max(between / self._spread, 0.0), 1.0))

    @property
    def floor(self) -> float:
        """What the offset explains of any map: (offsets − 1) of (pairs − 1), without direction.

        It is what independent values give on average.
        """
        offsets, pairs = (np.count_nonzero(self._weights) - 2) / 2, self._pairs / 2 - 1
        return float(offsets / pairs) if pairs > 0 else float("nan")

    @cached_property
    def _weights(self) -> Float[np.ndarray, "..."]:
        """The pairs of each offset, without those of a patch with itself."""
        weights = self.counts.copy()
        weights[_middle(self.sides)] = 0
        return weights

    @cached_property
    def _pairs(self) -> float:
        return float(self._weights.sum())

    @cached_property
    def _centre(self) -> float:
        return self._over_pairs(self.mean) / self._pairs if self._pairs else float("nan")

    @cached_property
    def _spread(self) -> float:
        """The variance over pairs of different patches."""
        return self.squares / self._pairs - self._centre**2 if self._pairs else float("nan")

    def _over_pairs(self, values: np.ndarray) -> float:
        return float(np.sum(values * self._weights, where=self._weights > 0))


def offset_profile(
    values: Float32[np.ndarray, "patches patches"], sides: Sequence[int]
) -> OffsetProfile:
    """Return the mean affinity by offset; undefined pairs are left out.

    Args:
        values: the map, query by key; NaN where undefined.
        sides: of the grid, in the order of the patches.
    """
    sides = tuple(sides)
    shape = tuple(2 * side - 1 for side in sides)
    sums, counts, squares = np.zeros(prod(shape)), pair_counts(sides).ravel(), 0.0
    complete = bool(np.isfinite(values).all())
    counts = counts if complete else np.zeros_like(counts)
    place = strip_offsets(sides)
    for strip, window in zip(np.split(values, sides[0]), row_windows(sides)):
        known = np.where(np.isfinite(strip), strip, 0).ravel().astype(np.float64)
        window_size = window.stop - window.start
        sums[window] += np.bincount(place, known, window_size)
        squares += float(known @ known)
        if not complete:
            counts[window] += np.bincount(place, np.isfinite(strip).ravel(), window_size)
    sums, counts = sums.reshape(shape), counts.reshape(shape)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(counts > 0, sums / counts, np.nan)
    own = np.diagonal(values).astype(np.float64)
    squares -= float(np.sum(own**2, where=np.isfinite(own)))
    high, low = np.fmax.reduce(values, axis=None), np.fmin.reduce(values, axis=None)
    largest = float(max(high, -low))
    return OffsetProfile(tuple(sides), mean, counts, squares, largest)


def row_windows(sides: tuple[int, ...]) -> Iterator[slice]:
    """Yield, for each place on the first axis, where the offsets of its queries lie, flattened."""
    step = prod(2 * side - 1 for side in sides[1:])
    for place in range(sides[0]):
        yield slice((sides[0] - 1 - place) * step, (2 * sides[0] - 1 - place) * step)


@lru_cache(maxsize=4)
def strip_offsets(sides: tuple[int, ...]) -> Int[np.ndarray, " pairs"]:
    """The place, in such a window, of every pair whose query has one place on the first axis."""
    shape = tuple(2 * side - 1 for side in sides)
    places = np.arange(sides[0] * prod(shape[1:])).reshape(sides[0], *shape[1:])
    queries = np.ndindex(*sides[1:])
    windows = ([slice(n - 1 - at, 2 * n - 1 - at) for n, at in zip(sides[1:], q)] for q in queries)
    return np.concatenate([places[(slice(None), *window)].ravel() for window in windows])


@lru_cache(maxsize=4)
def offsets_of(sides: tuple[int, ...]) -> Int[np.ndarray, "axes ..."]:
    """Return every offset of a grid: one array an axis, (axes, 2·side − 1, …)."""
    axes = [np.arange(1 - side, side) for side in sides]
    return np.stack(np.meshgrid(*axes, indexing="ij"))


def pair_counts(sides: Sequence[int]) -> Float[np.ndarray, "..."]:
    """Return how many ordered pairs of patches have each offset."""
    counts = [side - np.abs(np.arange(1 - side, side)) for side in sides]
    return np.asarray(reduce(np.multiply.outer, counts), np.float64)


def by_distance(
    mean: Float[np.ndarray, "..."], counts: Float[np.ndarray, "..."]
) -> tuple[Float[np.ndarray, " distances"], Float[np.ndarray, " distances"]]:
    """Return every distinct Euclidean distance, in patches, and the mean over its pairs.

    Args:
        mean: by offset.
        counts: the pairs of each offset; offsets without any are left out.
    """
    sides = tuple((n + 1) // 2 for n in mean.shape)
    squared = (offsets_of(sides) ** 2).sum(axis=0)
    known = counts > 0
    found, which = np.unique(squared[known], return_inverse=True)
    weights = counts[known]
    total = np.bincount(which, weights=weights * mean[known])
    return np.sqrt(found), total / np.bincount(which, weights=weights)


def _middle(sides: Sequence[int]) -> tuple[int, ...]:
    return tuple(side - 1 for side in sides)
