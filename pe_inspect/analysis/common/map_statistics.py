"""What one N×N map says in a few numbers, and how it is thinned for a figure.

Everything goes through the map a strip of rows at a time: at 4,096 patches a map is 64 MiB, and
a second copy of it in float64 would be 128.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import prod
from typing import Final

import numpy as np

from pe_inspect.arrays import Bool, Float32

__all__ = [
    "LayerStatistics",
    "PairStatistics",
    "block_side",
    "coarse_grid",
    "correlation",
    "layer_statistics",
    "pair_statistics",
    "shared_scale",
    "thinned",
]

STRIP: Final = 1 << 19  # elements of a strip: 2 MiB of float32 stay in the cache


@dataclass(frozen=True)
class PairStatistics:
    """One map in numbers: over pairs of different patches that are defined, but for the last two.

    Attributes:
        minimum: the least affinity.
        maximum: the greatest.
        mean: over all pairs.
        neighbours: the mean over pairs that share an edge of the grid (distance 1); with frames,
            one step apart in rows, in columns or in frames.
        far: the mean over pairs at least half the grid apart: |Δrow| ≥ H/2 or |Δcolumn| ≥ W/2, or
            with T frames |Δframe| ≥ T/2.
        limit: the greatest |affinity|, a patch with itself included.
        nearest: the least |affinity|, likewise; 0 where both signs occur.
    """

    minimum: float
    maximum: float
    mean: float
    neighbours: float
    far: float
    limit: float
    nearest: float


@dataclass(frozen=True)
class LayerStatistics(PairStatistics):
    """One layer's map in numbers: `PairStatistics` of the mean over heads, or of one head.

    Attributes:
        num_undefined: patches without an affinity: a zero row, or a value that is not finite.
        correlation_to_previous: Pearson's, of this map and the previous layer's, over all pairs
            of different patches; NaN for the first layer and after a change of grid.
        neighbours_by_axis: with frames, the mean over pairs one step apart in rows, in frames and
            in columns, each alone; empty for images.
    """

    num_undefined: int
    correlation_to_previous: float
    neighbours_by_axis: tuple[float, ...] = ()


def layer_statistics(
    values: Float32[np.ndarray, "patches patches"],
    grid_size: tuple[int, int],
    undefined: Bool[np.ndarray, " patches"],
    previous: Float32[np.ndarray, "others others"] | None,
    num_frames: int = 1,
) -> LayerStatistics:
    """Return one layer's numbers, given the previous layer's map.

    Args:
        values: the layer's map.
        grid_size: (H, W); the W columns are those of all frames.
        undefined: which patches have no affinity.
        previous: the map of the layer before, where there is one.
        num_frames: how many frames stand side by side.
    """
    similar = float("nan")
    if previous is not None and previous.shape == values.shape:
        similar = correlation(previous, values)
    numbers = vars(pair_statistics(values, grid_size, num_frames))
    count = int(np.count_nonzero(undefined))
    steps = tuple(_mean_of(values, pairs) for pairs in _by_axis(_sides(grid_size, num_frames)))
    return LayerStatistics(
        **numbers,
        num_undefined=count,
        correlation_to_previous=similar,
        neighbours_by_axis=steps if num_frames > 1 else (),
    )


def shared_scale(statistics: Sequence[PairStatistics]) -> tuple[float, float]:
    """Return the middle and the half-width of one scale for several maps.

    The middle is 0, unless all values lie closer together than the nearest of them to 0. Swin v2's
    biases lie about 8, for one: a constant, which cancels in the softmax over keys.
    """
    defined = [one for one in statistics if np.isfinite(one.limit)]
    furthest = max((one.limit for one in defined), default=0.0)
    nearest = min((one.nearest for one in defined), default=0.0)
    signs = {np.sign(one.maximum) for one in defined if np.isfinite(one.maximum)}
    if len(signs) != 1 or furthest - nearest >= nearest:
        return 0.0, furthest or 1.0
    centre = (nearest + furthest) / 2
    return float(centre * signs.pop()), (furthest - nearest) / 2 or 1.0


def pair_statistics(
    values: Float32[np.ndarray, "patches patches"], grid_size: tuple[int, int], num_frames: int = 1
) -> PairStatistics:
    """Return the numbers of one map; NaN where no pair is defined."""
    far, total, minimum, maximum = _Mean(), _Mean(), np.float32(np.nan), np.float32(np.nan)
    sides = _sides(grid_size, num_frames)
    is_far = _far_pairs(sides)
    for rows, strip in _strips_without_diagonal(values):
        defined = np.isfinite(strip)
        total.add(strip, defined)
        far.add(strip, defined & is_far[rows])
        minimum = np.fmin(minimum, np.fmin.reduce(strip, axis=None))
        maximum = np.fmax(maximum, np.fmax.reduce(strip, axis=None))
    neighbours = _mean_of(values, _neighbours(sides))
    low, high = float(np.fmin.reduce(values, axis=None)), float(np.fmax.reduce(values, axis=None))
    limit, nearest = float(np.fmax(high, -low)), max(low, -high, 0.0)
    return PairStatistics(
        float(minimum), float(maximum), total.value, neighbours, far.value, limit, nearest
    )


def correlation(
    first: Float32[np.ndarray, "patches patches"], second: Float32[np.ndarray, "patches patches"]
) -> float:
    """Return Pearson's correlation of two maps over pairs of different patches.

    NaN where one of them is constant, or fewer than two pairs are defined in both.
    """
    mean_first, mean_second = _Mean(), _Mean()
    for _, one, other, defined in _both(first, second):
        mean_first.add(one, defined)
        mean_second.add(other, defined)
    sums = np.zeros(3)
    for _, one, other, defined in _both(first, second):
        x = np.where(defined, one - np.float32(mean_first.value), 0)
        y = np.where(defined, other - np.float32(mean_second.value), 0)
        sums += (np.vdot(x, y), np.vdot(x, x), np.vdot(y, y))
    product, square_first, square_second = sums
    # float32 maps that differ only by rounding are constant: their variance is noise
    noise = mean_first.count * 1e-14
    if not (square_first > noise and square_second > noise):
        return float("nan")
    return float(product / np.sqrt(square_first * square_second))


def block_side(grid_size: tuple[int, int], most: int) -> int:
    """Return the least side of square blocks of patches that leave at most `most` of them."""
    height, width = grid_size
    side = max(int((height * width / most) ** 0.5), 1)
    while prod(coarse_grid(grid_size, side)) > most:
        side += 1
    return side


def coarse_grid(grid_size: tuple[int, int], side: int) -> tuple[int, int]:
    """Return the grid of square blocks of patches; those at the lower and right edges are cut."""
    return -(-grid_size[0] // side), -(-grid_size[1] // side)


def thinned(
    values: Float32[np.ndarray, "patches patches"], grid_size: tuple[int, int], most: int
) -> Float32[np.ndarray, "blocks blocks"]:
    """Return the mean affinities of square blocks of the grid, at most `most` of them.

    Blocks of patches that follow each other in reading order would mix ends of rows with their
    beginnings, and show patterns that are not there. Pairs of blocks without any defined pair are
    NaN. A map that is small enough is returned as it is.

    Args:
        values: query by key, row-major.
        grid_size: (H, W).
        most: how many blocks there may be.
    """
    side = block_side(grid_size, most)
    if side == 1:
        return values
    height, width = grid_size
    strips = [_by_block(values[top * width :][: side * width], grid_size, side)
              for top in range(0, height, side)]  # fmt: skip
    return np.concatenate(strips)


def _by_block(
    strip: Float32[np.ndarray, "queries patches"], grid_size: tuple[int, int], side: int
) -> Float32[np.ndarray, "query_blocks blocks"]:
    """Average the queries of one row of blocks, and all keys, over blocks."""
    height, width = grid_size
    defined = np.isfinite(strip)
    tops, lefts = (np.arange(0, length, side) for length in grid_size)
    found = []
    for values in (np.where(defined, strip, 0).astype(np.float64), defined.astype(np.float64)):
        queries = values.reshape(-1, width, height, width).sum(axis=0)
        sums = np.add.reduceat(queries, lefts, axis=0)
        sums = np.add.reduceat(np.add.reduceat(sums, tops, axis=1), lefts, axis=2)
        found.append(sums.reshape(len(lefts), -1))
    sums, counts = found
    means = np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)
    return means.astype(np.float32)


class _Mean:
    """A mean that grows strip by strip."""

    def __init__(self) -> None:
        self.sum, self.count = 0.0, 0

    def add(self, values: np.ndarray, where: np.ndarray) -> None:
        self.sum += float(np.sum(values, where=where, dtype=np.float64))
        self.count += int(np.count_nonzero(where))

    @property
    def value(self) -> float:
        return self.sum / self.count if self.count else float("nan")


def _strips_without_diagonal(
    values: Float32[np.ndarray, "patches patches"],
) -> Iterator[tuple[slice, np.ndarray]]:
    """Copies of a few rows at a time, the pairs of a patch with itself set to NaN."""
    patches = len(values)
    step = max(STRIP // patches, 1)
    for start in range(0, patches, step):
        rows = slice(start, min(start + step, patches))
        strip = values[rows].copy()
        strip[np.arange(len(strip)), np.arange(rows.start, rows.stop)] = np.nan
        yield rows, strip


def _both(
    first: Float32[np.ndarray, "patches patches"], second: Float32[np.ndarray, "patches patches"]
) -> Iterator[tuple[slice, np.ndarray, np.ndarray, np.ndarray]]:
    for rows, one in _strips_without_diagonal(first):
        other = second[rows]
        yield rows, one, other, np.isfinite(one) & np.isfinite(other)


def _sides(grid_size: tuple[int, int], num_frames: int) -> tuple[int, int, int]:
    """(H, T, W'): the axes of patches row by row, the frames of a row side by side."""
    return grid_size[0], num_frames, grid_size[1] // num_frames


@lru_cache(maxsize=2)
def _far_pairs(sides: tuple[int, int, int]) -> Bool[np.ndarray, "patches patches"]:
    pairs = np.zeros((*sides, *sides), bool)
    for axis, side in enumerate(sides):
        places = np.arange(side)
        apart = 2 * np.abs(places[:, None] - places) >= side
        along = np.arange(2 * len(sides)) % len(sides) == axis
        pairs |= apart.reshape(np.where(along, side, 1))
    return pairs.reshape(np.prod(sides), -1)


def _neighbours(sides: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    """(query, key) indices of all pairs one step apart along one axis, in both directions."""
    one, other = (np.concatenate(ends) for ends in zip(*_by_axis(sides)))
    return np.concatenate([one, other]), np.concatenate([other, one])


def _by_axis(sides: tuple[int, int, int]) -> list[tuple[np.ndarray, np.ndarray]]:
    """For each axis the indices of all pairs one step apart along it, in one direction."""
    index = np.arange(np.prod(sides)).reshape(sides)
    along = [np.moveaxis(index, axis, 0) for axis in range(len(sides))]
    return [(each[:-1].ravel(), each[1:].ravel()) for each in along]


def _mean_of(values: np.ndarray, pairs: tuple[np.ndarray, np.ndarray]) -> float:
    mean, beside = _Mean(), values[pairs]
    mean.add(beside, np.isfinite(beside))
    return mean.value
