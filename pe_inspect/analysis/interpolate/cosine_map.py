"""One map of cosines that many others are correlated with."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from pe_inspect.analysis.common.numbers import ROUNDING, pearson
from pe_inspect.arrays import Bool, Float

__all__ = ["CosineMap"]


@dataclass(frozen=True, eq=False)
class CosineMap:
    """The cosines of queries with positions; NaN where there is none, as of a query with itself.

    Attributes:
        values: as they are.
    """

    values: Float[np.ndarray, "queries positions"]

    @cached_property
    def defined(self) -> Bool[np.ndarray, "queries positions"]:
        """Which cosines there are."""
        return np.asarray(np.isfinite(self.values))

    @cached_property
    def _about_mean(self) -> Float[np.ndarray, " pairs"]:
        """The cosines less their mean, and 0 where there is none."""
        values = np.where(self.defined, self.values, 0).astype(np.float64)
        mean = values.sum() / max(1, np.count_nonzero(self.defined))
        return np.asarray(np.where(self.defined, values - mean, 0).ravel())

    def correlation(self, other: Float[np.ndarray, "queries positions"]) -> float:
        """Pearson's, over the pairs that are defined in both; NaN where one map is constant.

        Where both are defined at the same pairs, this one's mean need not be taken again.
        """
        defined = np.isfinite(other)
        if not np.array_equal(defined, self.defined):
            return pearson(self.values, other)
        count = max(1, int(np.count_nonzero(defined)))
        mine, its = self._about_mean, np.where(defined, other, 0).astype(np.float64).ravel()
        spread, other_spread = float(mine @ mine), float(its @ its - its.sum() ** 2 / count)
        if min(spread, other_spread) <= count * ROUNDING**2:  # cosines are of size one
            return float("nan")
        return float(mine @ its / np.sqrt(spread * other_spread))
