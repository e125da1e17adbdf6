"""Intervals from bootstrap replicates over images."""

from __future__ import annotations

from typing import Final

import numpy as np

from pe_inspect.arrays import Float

__all__ = ["LEVEL", "interval_of"]

LEVEL: Final = 0.95
_ENDS: Final = (0.5 - LEVEL / 2, 0.5 + LEVEL / 2)


def interval_of(
    value: float, replicates: Float[np.ndarray, " replicates"] | None
) -> tuple[float, float]:
    """Return the ends of a 95 % interval about a value; NaN where there are no replicates.

    The spread of the replicates is put about the value: images that are drawn twice lift the level
    of a share of variance, and not its spread.
    """
    if replicates is None or not np.isfinite(replicates).any():
        return float("nan"), float("nan")
    low, middle, high = np.nanquantile(replicates, (_ENDS[0], 0.5, _ENDS[1]))
    return float(value + low - middle), float(value + high - middle)
