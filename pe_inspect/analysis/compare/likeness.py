"""How alike the maps of two embeddings are, layer by layer."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from pe_inspect.analysis.common.map_statistics import correlation
from pe_inspect.analysis.compare.side_by_side import SideBySide
from pe_inspect.arrays import Float32

__all__ = ["Likeness", "likenesses"]


@dataclass(frozen=True)
class Likeness:
    """Two embeddings, matched layer by matched layer.

    Attributes:
        first: the place of one embedding.
        second: of the other.
        correlations: Pearson's, over all pairs of different patches; NaN where one is constant.
        differences: the root mean square of the differences of the two maps, over all pairs that
            are defined in both; NaN where their values have no scale in common.
    """

    first: int
    second: int
    correlations: tuple[float, ...]
    differences: tuple[float, ...]

    @property
    def correlation(self) -> float:
        """The mean over layers where it is defined."""
        known = [value for value in self.correlations if not math.isnan(value)]
        return sum(known) / len(known) if known else math.nan

    @property
    def difference(self) -> float:
        """The root mean square over all layers and pairs."""
        known = [value for value in self.differences if not math.isnan(value)]
        return math.sqrt(sum(x * x for x in known) / len(known)) if known else math.nan


def likenesses(side: SideBySide) -> Iterator[Likeness]:
    """Yield every two embeddings: how alike their maps are; one stage is in memory at a time."""
    pairs = list(combinations(range(len(side.results)), 2))
    found: dict[tuple[int, int], list[tuple[float, float]]] = {pair: [] for pair in pairs}
    for stage in side.matched():
        for one, other in pairs:
            apart = math.nan
            if side.share_a_scale(one, other):
                apart = map_difference(stage[one], stage[other])
            found[one, other].append((correlation(stage[one], stage[other]), apart))
    for pair, numbers in found.items():
        yield Likeness(*pair, *zip(*numbers))


def map_difference(
    one: Float32[np.ndarray, "patches patches"], other: Float32[np.ndarray, "patches patches"]
) -> float:
    """Return the root mean square difference of two maps; NaN where no pair is defined in both."""
    apart = (one - other).ravel()
    known = apart[np.isfinite(apart)]
    return float(np.sqrt(np.vdot(known, known) / known.size)) if known.size else math.nan
