"""What is done to tables of offsets alone: BEiT's progression, LeViT's distances, HF BEiT's mix-up.

A table has 2·side − 1 offsets an axis, the offset 0 in the middle.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from pe_inspect.arrays import Float
from pe_inspect.errors import UsageError
from pe_inspect.resampling.methods.torch_modes import bicubic_aa, bilinear
from pe_inspect.resampling.resampler import (
    Matrices,
    Separable,
    Size,
    Table,
    Whole,
)
from pe_inspect.resampling.spline import through_knots

__all__ = ["geometric_cubic", "geometric_linear", "mirrored", "swapped"]

GROWTH_RANGE: Final = (1.01, 1.5)
GROWTH_TOLERANCE: Final = 1e-6
FEWEST_KNOTS: Final = 4
SYMMETRIC: Final = 1e-5


def _linear(source: int, target: int, exact: bool) -> Float[np.ndarray, "target source"]:
    """Read the old offsets, in geometric progression, linearly at the new ones."""
    del exact
    places, wanted = progression(source, target), np.arange(target) - target // 2
    return np.stack([np.interp(wanted, places, hat) for hat in np.eye(source)], axis=1)


def _cubic(source: int, target: int, exact: bool) -> Float[np.ndarray, "target source"]:
    """Read them by the cubic spline through all of them; beyond the last one, as there."""
    del exact
    places, wanted = progression(source, target), np.arange(target) - target // 2
    return through_knots(places, wanted.clip(places[0], places[-1]))


def progression(source: int, target: int) -> Float[np.ndarray, " source"]:
    """Where old offsets lie among the new: 0, ±1, ±(1 + q), ±(1 + q + q²), … up to the new edge.

    Near offsets keep their place and far ones stretch. Source: BEiT's fine-tuning (2106.08254).
    """
    arm = np.cumsum(_growth(source // 2, target // 2) ** np.arange(source // 2))
    return np.concatenate([-arm[::-1], [0.0], arm])


def _growth(steps: int, reach: int) -> float:
    """The q at which 1 + q + … + q^(steps − 1) = reach, by bisection within `GROWTH_RANGE`."""
    low, high = GROWTH_RANGE
    q = high
    while high - low > GROWTH_TOLERANCE:
        q = (low + high) / 2
        low, high = (low, q) if np.sum(q ** np.arange(steps)) > reach else (q, high)
    return q


def _enough_for_cubic(table: Table, size: Size) -> None:
    changed = [old for old, new in zip(table.shape, size) if old != new]
    if any(old < FEWEST_KNOTS for old in changed):
        rows, columns = ((side + 1) // 2 for side in table.shape[:2])
        raise UsageError(
            f"BEiT's cubic spline needs a window at least 3 patches wide, and this one is "
            f"{rows}×{columns}. Use --method timm (linear) or bicubic."
        )


geometric_linear: Final = Separable("geometric-linear", _linear)
geometric_cubic: Final = Separable("geometric-cubic", _cubic, _enough_for_cubic)


def _by_distance(source: int, target: int, exact: bool) -> Float[np.ndarray, "target source"]:
    """Resample the distances 0 … side − 1 and mirror the result: the far half is not read."""
    old, new = (source + 1) // 2, (target + 1) // 2
    matrix = np.zeros((target, source))
    matrix[:, old - 1 :] = bicubic_aa.axis(old, new, exact)[np.abs(np.arange(target) - target // 2)]
    return matrix


def _refuse_direction(table: Table, _size: Size) -> None:
    scale = float(np.max(np.abs(table), initial=0.0, where=np.isfinite(table)))
    for turned in (table[::-1], table[:, ::-1]):
        if not np.allclose(table, turned, rtol=0, atol=SYMMETRIC * scale, equal_nan=True):
            raise UsageError(
                "--method levit resamples a bias by distance (|Δy|, |Δx|), and this one differs "
                "between directions. Use --method swin, beit or timm."
            )


mirrored: Final = Separable("distances-bicubic-aa", _by_distance, _refuse_direction)


def _swapped(table: Table, size: Size) -> Table:
    rows, columns, channels = table.shape
    return bilinear(table.reshape(columns, rows, channels), size)


class _Swapped(Whole):
    """Separable where nothing is swapped: on a square table."""

    def matrices(self, source: Size, size: Size, *, exact: bool = True) -> Matrices | None:
        """Those of `bilinear`, where rows and columns are as many."""
        return bilinear.matrices(source, size, exact=exact) if source[0] == source[1] else None


swapped: Final = _Swapped("bilinear-swapped", _swapped)
"""transformers' BEiT reads the table as (width, height): another table, unless it is square."""
