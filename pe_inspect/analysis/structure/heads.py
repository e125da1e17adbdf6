"""What each head of a bias, a rotation or relative vectors prefers: distances and directions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pe_inspect.analysis.structure.layer_rows import StructureRow
from pe_inspect.analysis.structure.offset_profile import by_distance, offsets_of, pair_counts
from pe_inspect.arrays import Float, Float32

__all__ = ["HeadProfiles", "head_profiles"]


@dataclass(frozen=True, eq=False)
class HeadProfiles:
    """The heads of one layer, by offset and by distance.

    Attributes:
        layer: its name.
        profile: the affinity by offset, (heads, 2H − 1, 2W − 1).
        distances: all distinct Euclidean distances, in patches.
        by_distance: the mean affinity over pairs of each, (heads, distances).
        lean: per head and axis, how much more a head gives to one side than to the other: the mean
            over pairs with the key below less that with the key above, in standard deviations
            over pairs of different patches; and right less left. NaN where the head is constant.
    """

    layer: str
    profile: Float32[np.ndarray, "heads ..."]
    distances: Float[np.ndarray, " distances"]
    by_distance: Float[np.ndarray, "heads distances"]
    lean: Float[np.ndarray, "heads axes"]


def head_profiles(row: StructureRow) -> HeadProfiles:
    """Return the profiles of a layer's heads; those of one map where it has no heads."""
    heads = row.heads if len(row.heads) else row.profile[None].astype(np.float32)
    counts = pair_counts(row.indices.sides)
    found = [by_distance(np.nan_to_num(head), counts * np.isfinite(head)) for head in heads]
    leans = np.stack([_lean(head, counts) for head in heads])
    return HeadProfiles(row.name, heads, found[0][0], np.stack([each for _, each in found]), leans)


def _lean(head: np.ndarray, counts: np.ndarray) -> Float[np.ndarray, " axes"]:
    sides = tuple((size + 1) // 2 for size in head.shape)
    offsets, weights = offsets_of(sides), np.where(np.isfinite(head), counts, 0)
    weights[tuple(side - 1 for side in sides)] = 0
    values = np.nan_to_num(head.astype(np.float64))
    if not weights.any():
        return np.full(len(sides), np.nan)
    mean = np.average(values, weights=weights)
    deviation = float(np.sqrt(np.average((values - mean) ** 2, weights=weights)))
    return np.array([_difference(values, weights, axis) / deviation if deviation > 0 else np.nan
                     for axis in offsets])  # fmt: skip


def _difference(values: np.ndarray, weights: np.ndarray, axis: np.ndarray) -> float:
    """The weighted mean where an offset is positive less that where it is negative."""
    ahead, behind = (np.where(side, weights, 0) for side in (axis > 0, axis < 0))
    if not (ahead.any() and behind.any()):
        return float("nan")
    return float(np.average(values, weights=ahead) - np.average(values, weights=behind))
