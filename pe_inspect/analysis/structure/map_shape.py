"""Which form a map has: what simple functions of the offset, or of the place, explain of it.

The words of `words.py` are defined by these numbers. A profile is the map by offset; offset 0 is
left out of it, and every other one weighted by its pairs. With frames it is that of one frame.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from pe_inspect.analysis.structure.offset_profile import ROUNDING, OffsetProfile, offsets_of
from pe_inspect.arrays import Float, Float32

__all__ = ["MapShape", "map_shape"]

NEAR: Final = 0.75  # of a side: offsets beyond it have few pairs
STRIP: Final = 64  # query patches at a time


@dataclass(frozen=True)
class MapShape:
    """What simple functions explain of one map.

    Attributes:
        deviation: the standard deviation over pairs of different patches, in the map's own unit.
        by_offset: the share of the variance over pairs that their offset explains, less what it
            explains of any map by chance.
        by_place: the share of the variance about each query's mean that a plane over the grid
            explains, another one a query, less what it explains by chance.
        by_row: the share of the profile that a function of the rows between two patches explains.
        by_column: the same, of the columns.
        by_sum: what the sum of such functions explains.
        by_ring: what a function of the Euclidean distance in whole patches explains.
        by_slope: what a plane over the offsets explains: one side against the other.
        by_steps: what a linear function of the rows and the columns in between explains, whichever
            side they lie on.
        falls: minus the correlation of the profile with distance.
        returns: rows, columns: how far the function of the sum rises again after the least value
            before, as a share of its range; over three quarters of the axis.
        repeats: the share of the way from its least value to that at offset 0 which the profile
            comes back to, at an offset of at least two rows and two columns; 0 where offset 0 has
            not the greatest value.
    """

    deviation: float
    by_offset: float
    by_place: float
    by_row: float
    by_column: float
    by_sum: float
    by_ring: float
    by_slope: float
    by_steps: float
    falls: float
    returns: tuple[float, float]
    repeats: float


def map_shape(
    values: Float32[np.ndarray, "patches patches"], profile: OffsetProfile
) -> MapShape | None:
    """Return the numbers of one map; `None` of a constant one, and of one row or column.

    Args:
        values: the map, query by key; NaN where undefined.
        profile: the same by offset.
    """
    mean, counts = _of_one_frame(profile)
    if profile.is_constant or min(mean.shape) == 1:
        return None
    fit = _Profile.of(mean, counts)
    if fit is None:
        return None
    dy, dx = fit.offsets
    rows, columns = fit.functions_of_sum()
    total = float(np.sum(fit.weights * (rows[:, None] + columns) * fit.centred))
    return MapShape(
        profile.deviation,
        _beyond_chance(profile.explained, profile.floor),
        _plane_share(values, profile.sides),
        fit.by_group(np.abs(dy)),
        fit.by_group(np.abs(dx)),
        total / fit.variation,
        fit.by_group(np.round(np.hypot(dy, dx)).astype(int)),
        fit.by_linear(dy, dx),
        fit.by_linear(np.abs(dy), np.abs(dx)),
        fit.fall(),
        (_rise(rows), _rise(columns)),
        _repeats(mean, fit),
    )


def _of_one_frame(
    profile: OffsetProfile,
) -> tuple[Float[np.ndarray, "rows columns"], Float[np.ndarray, "rows columns"]]:
    """The profile of pairs within one frame, and its pairs, none of a patch with itself."""
    mean, counts = profile.mean, profile.counts.copy()
    counts[tuple(size // 2 for size in counts.shape)] = 0
    if mean.ndim > 2:
        middle = mean.shape[1] // 2
        mean, counts = mean[:, middle], counts[:, middle]
    return mean, counts


@dataclass(frozen=True, eq=False)
class _Profile:
    """A profile about its mean.

    Attributes:
        centred: 0 where there are no pairs.
        weights: the pairs.
        variation: the weighted sum of squares.
    """

    centred: Float[np.ndarray, "rows columns"]
    weights: Float[np.ndarray, "rows columns"]
    variation: float

    @classmethod
    def of(
        cls, mean: Float[np.ndarray, "rows columns"], counts: Float[np.ndarray, "rows columns"]
    ) -> _Profile | None:
        known = np.where(counts > 0, mean, 0)
        centred = np.where(counts > 0, known - np.average(known, weights=counts), 0)
        variation = float(np.sum(counts * centred**2))
        return cls(centred, counts, variation) if variation > 0 else None

    @property
    def offsets(self) -> np.ndarray:
        """(dy, dx) of every entry."""
        height, width = self.centred.shape
        return offsets_of(((height + 1) // 2, (width + 1) // 2))

    def by_group(self, group: np.ndarray) -> float:
        """What the means over groups of offsets explain."""
        _, which = np.unique(group, return_inverse=True)
        which = which.ravel()
        pairs = np.bincount(which, weights=self.weights.ravel())
        sums = np.bincount(which, weights=(self.weights * self.centred).ravel())
        return float(np.sum(sums[pairs > 0] ** 2 / pairs[pairs > 0]) / self.variation)

    def by_linear(self, *terms: np.ndarray) -> float:
        """What a linear function of two terms explains."""
        scale = np.sqrt(self.weights).ravel()
        design = np.stack([np.ones_like(scale), *(term.ravel() for term in terms)], axis=1)
        design *= scale[:, None]
        wanted = self.centred.ravel() * scale
        found = np.linalg.lstsq(design, wanted, rcond=None)[0]
        return float(np.sum((design @ found) ** 2) / self.variation)

    def functions_of_sum(
        self,
    ) -> tuple[Float[np.ndarray, " rows"], Float[np.ndarray, " columns"]]:
        """The functions of dy and of dx whose sum is nearest to the profile, by normal equations.

        A constant may go from one to the other, so that the equations have no single solution;
        a trace of the identity picks the least.
        """
        weights = self.weights
        sides = [np.diag(weights.sum(axis=1)), np.diag(weights.sum(axis=0))]
        equations = np.block([[sides[0], weights], [weights.T, sides[1]]])
        equations += np.eye(len(equations)) * equations.max() * 1e-9
        wanted = weights * self.centred
        found = np.linalg.solve(equations, np.append(wanted.sum(axis=1), wanted.sum(axis=0)))
        rows, columns = np.split(found, [len(weights)])
        return rows, columns

    def fall(self) -> float:
        """Minus the correlation with the Euclidean distance."""
        distance = np.hypot(*self.offsets)
        distance -= np.average(distance, weights=self.weights)
        along = float(np.sum(self.weights * distance * self.centred))
        lengths = float(np.sum(self.weights * distance**2)) * self.variation
        return -along / lengths**0.5 if lengths > 0 else 0.0


def _rise(function: Float[np.ndarray, " offsets"]) -> float:
    """How far a function of |offset| rises after its least value before, of its range."""
    side = (len(function) + 1) // 2
    outward = (function[side - 1 :] + function[side - 1 :: -1]) / 2
    near = outward[: max(int(np.ceil(NEAR * side)), 2)]
    span = float(np.ptp(near))
    return float(np.max(near - np.minimum.accumulate(near)) / span) if span > 0 else 0.0


def _repeats(mean: Float[np.ndarray, "rows columns"], fit: _Profile) -> float:
    dy, dx = np.abs(fit.offsets)
    height, width = ((size + 1) // 2 for size in mean.shape)
    near = (dy <= NEAR * (height - 1)) & (dx <= NEAR * (width - 1)) & (fit.weights > 0)
    far, own = near & (dy > 1) & (dx > 1), mean[height - 1, width - 1]
    least = float(np.min(mean, where=near, initial=np.inf))
    again, span = float(np.max(mean, where=far, initial=least)), float(own) - least
    return (again - least) / span if span > 0 and again - own <= ROUNDING * span else 0.0


def _plane_share(values: Float32[np.ndarray, "patches patches"], sides: Sequence[int]) -> float:
    known = np.isfinite(values).any(axis=1)
    defined = np.flatnonzero(known)
    plane = _plane(sides)[defined]
    plane = np.linalg.qr(plane - plane.mean(axis=0))[0].astype(np.float32)
    explained = whole = 0.0
    for start in range(0, len(defined), STRIP):
        queries = defined[start : start + STRIP]
        strip = values[queries] if known.all() else values[np.ix_(queries, defined)]
        strip[~np.isfinite(strip)] = 0
        own = (np.arange(len(queries)), np.arange(start, start + len(queries)))
        strip[own] = 0
        mean = strip.sum(axis=1, keepdims=True, dtype=np.float64) / max(len(defined) - 1, 1)
        strip -= mean.astype(np.float32)
        strip[own] = 0
        explained += float(np.sum((strip @ plane) ** 2))
        whole += float(np.sum(strip**2))
    chance = plane.shape[1] / max(len(defined) - 1, 1)
    return _beyond_chance(explained / whole, chance) if whole else float("nan")


def _plane(sides: Sequence[int]) -> Float[np.ndarray, "patches axes"]:
    places = np.indices(tuple(sides)).reshape(len(sides), -1).T.astype(np.float64)
    return places[:, [axis for axis, side in enumerate(sides) if side > 1]]


def _beyond_chance(share: float, chance: float) -> float:
    return (share - chance) / (1 - chance) if chance < 1 else float("nan")
