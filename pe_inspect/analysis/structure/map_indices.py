"""An affinity map in numbers: how local, how symmetric, how much a matter of the offset."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from pe_inspect.analysis.common.numbers import ROUNDING, pearson
from pe_inspect.analysis.structure.distance_correlation import distance_correlation
from pe_inspect.analysis.structure.offset_profile import (
    OffsetProfile,
    by_distance,
    offset_profile,
)
from pe_inspect.arrays import Float, Float32

__all__ = [
    "MapIndices",
    "half_radius",
    "map_indices",
    "mirrored",
]

NAN = float("nan")
FIRST = 2  # patches in a line: the only step outward starts at the patch itself


@dataclass(frozen=True, eq=False)
class MapIndices:
    """One map in numbers; NaN where one is not defined.

    Attributes:
        profile: the map by offset.
        ssdc_l1: Spearman's correlation of affinity with −distance, L1.
        ssdc_l2: the same, Euclidean.
        half_radius: in patches; see `half_radius`.
        mirror: per axis, in the order of the sides: see `mirrored`.
        transpose: the profile's correlation with itself, rows and columns exchanged.
        monotone: per axis, the share of unit steps outward on which the affinity falls: from each
            query patch along the axis, to both sides, to the edge of the grid.
        monotone_share: of all unit steps outward on all axes.
    """

    profile: OffsetProfile
    ssdc_l1: float
    ssdc_l2: float
    half_radius: float
    mirror: tuple[float, ...]
    transpose: float
    monotone: tuple[float, ...]
    monotone_share: float

    @property
    def translation_share(self) -> float:
        """The share of the variance over pairs of different patches that the offset explains."""
        return self.profile.explained


def map_indices(values: Float32[np.ndarray, "patches patches"], sides: Sequence[int]) -> MapIndices:
    """Return the indices of a map.

    Args:
        values: the map, query by key; NaN where undefined.
        sides: of the grid: (H, W), or (H, T, W) with the frames of a row side by side.
    """
    sides = tuple(sides)
    profile = offset_profile(values, sides)
    ssdc = (NAN, NAN) if profile.is_constant else distance_correlation(values, sides)
    has_steps = profile.varies and max(sides) > FIRST
    steps = _steps_that_fall(values, sides) if has_steps else [(0, 0)] * len(sides)
    return MapIndices(
        profile,
        *ssdc,
        half_radius(profile.mean, profile.counts),
        tuple(mirrored(profile.mean, axis) for axis in range(len(sides))),
        _transposed(profile.mean),
        tuple(_share(*axis) for axis in steps),
        _share(*map(sum, zip(*steps))),
    )


def half_radius(mean: Float[np.ndarray, "..."], counts: Float[np.ndarray, "..."]) -> float:
    """Return the distance, in patches, at which the mean affinity is half way down.

    Half way from its value at distance 0 to its least, over all distinct Euclidean distances, and
    between two of them by a straight line; the first of several such distances. NaN where the
    value at 0 is not the greatest, or all are equal.

    Args:
        mean: the affinity by offset.
        counts: the pairs of each offset.
    """
    distance, value = by_distance(mean, counts)
    largest = float(np.max(np.abs(value), initial=0.0))
    if len(value) < 2 or not value[0] - np.max(value[1:]) > ROUNDING * largest:
        return NAN
    half = (value[0] + value.min()) / 2
    after = int(np.argmax(value <= half))
    (near, far), (high, low) = distance[after - 1 : after + 1], value[after - 1 : after + 1]
    return float(near + (far - near) * (high - half) / (high - low))


def mirrored(mean: Float[np.ndarray, "..."], axis: int) -> float:
    """Return Pearson's correlation of a profile with its mirror image along an axis.

    Offset 0 is left out. An axis of one patch has no mirror image, and neither has a symmetric
    map of one axis another than itself: NaN.
    """
    if mean.shape[axis] == 1 or max(mean.shape) == mean.size:
        return NAN
    return pearson(_without_own(mean), _without_own(np.flip(mean, axis)))


def _transposed(mean: Float[np.ndarray, "..."]) -> float:
    """Correlate a profile with itself, first and last axis exchanged, on their common offsets."""
    rows, columns = mean.shape[0], mean.shape[-1]
    side = min(rows, columns)
    if side == 1:
        return NAN
    top, left = (rows - side) // 2, (columns - side) // 2
    common = mean[top : top + side, ..., left : left + side]
    return pearson(_without_own(common), _without_own(np.swapaxes(common, 0, -1)))


def _without_own(mean: Float[np.ndarray, "..."]) -> Float[np.ndarray, " offsets"]:
    return np.delete(mean.ravel(), mean.size // 2)


def _steps_that_fall(
    values: Float32[np.ndarray, "patches patches"], sides: tuple[int, ...]
) -> list[tuple[int, int]]:
    """Per axis: how many unit steps outward fall, and how many there are."""
    return [_counted(rays) for rays in _rays(values, sides)]


def _rays(
    values: Float32[np.ndarray, "patches patches"], sides: tuple[int, ...]
) -> Iterator[Float32[np.ndarray, "query places others"]]:
    """Yield per axis, by the query's place on it, the keys of its line; other queries are last."""
    pairs = values.reshape(*sides, *sides)
    letters = "abc"[: len(sides)]
    for axis in range(len(sides)):
        keys = letters.replace(letters[axis], "z")
        others = letters.replace(letters[axis], "")
        line = np.einsum(f"{letters}{keys}->{letters[axis]}z{others}", pairs)
        yield line.reshape(sides[axis], sides[axis], -1)


def _counted(rays: Float32[np.ndarray, "query places others"]) -> tuple[int, int]:
    steps = np.diff(rays, axis=1)
    side = rays.shape[0]
    outward = np.arange(side - 1) >= np.arange(side)[:, None]  # step k leads from place k to k + 1
    falls = np.where(outward[:, :, None], steps < 0, steps > 0)
    return int(np.count_nonzero(falls)), int(np.count_nonzero(np.isfinite(steps)))


def _share(part: int, whole: int) -> float:
    return part / whole if whole else NAN
