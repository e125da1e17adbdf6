"""Rotary angles as what they are: θ(y, x) = a·(y + o_y) + b·(x + o_x), read back from a table."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np

from pe_inspect.arrays import Float
from pe_inspect.errors import UsageError

__all__ = ["Planes", "planes"]

TOLERANCE: Final = 1e-5  # of the largest angle: float32 rounding, and half-precision periods
COARSE: Final = 4e-3  # radians: cosines and sines that were stored in half precision
NOTHING: Final = 1e-7
NEAR: Final = 1e-3


@dataclass(frozen=True, eq=False)
class Planes:
    """Angles that are linear in position.

    Attributes:
        a: radians a row, of each angle.
        b: radians a column.
        first: the angles of the first patch.
        scale: the largest angle of the table.
    """

    a: Float[np.ndarray, " angles"]
    b: Float[np.ndarray, " angles"]
    first: Float[np.ndarray, " angles"]
    scale: float

    def at(
        self, y: Float[np.ndarray, " rows"], x: Float[np.ndarray, " columns"]
    ) -> Float[np.ndarray, "rows columns angles"]:
        """The angles at positions counted from where they are zero."""
        angles: np.ndarray = y[:, None, None] * self.a + x[None, :, None] * self.b
        return angles

    @cached_property
    def origin(self) -> tuple[float, float]:
        """(o_y, o_x): how many patches ahead of the first one all angles are zero.

        Raises:
            UsageError: there is no such place.
        """
        slopes = np.stack([self.a, self.b], axis=1)
        found = np.linalg.lstsq(slopes, self.first, rcond=None)[0]
        if not np.abs(slopes @ found - self.first).max(initial=0.0) <= _tolerance(self.scale):
            raise UsageError(
                "These angles share no position at which all of them are zero, so that stretching "
                "them is not defined. Use --method extrapolate."
            )
        y, x = (_without_rounding(float(o)) for o in found)
        return y, x


def planes(angles: Float[np.ndarray, "rows columns angles"]) -> Planes:
    """Read the slopes back, by least squares in float64.

    Raises:
        UsageError: the angles are no linear function of the position.
    """
    values = angles.astype(np.float64)
    scale = float(np.abs(values).max(initial=0.0))
    a, b = _slope(values), _slope(values.swapaxes(0, 1))
    rows, columns = (np.arange(side, dtype=np.float64) for side in values.shape[:2])
    first = values.mean(axis=(0, 1)) - a * rows.mean() - b * columns.mean()
    for part in (a, b, first):
        part[np.abs(part) < NOTHING * scale] = 0.0
    found = Planes(a, b, first, scale)
    if not np.abs(values - found.at(rows, columns) - first).max(initial=0.0) <= _tolerance(scale):
        raise UsageError(
            "These angles are not linear in the position, so they say nothing of other positions."
        )
    return found


def _tolerance(scale: float) -> float:
    return max(TOLERANCE * scale, COARSE)


def _slope(values: Float[np.ndarray, "along across angles"]) -> Float[np.ndarray, " angles"]:
    """Radians a step along the first axis; 0 where there is no step."""
    place = np.arange(len(values)) - (len(values) - 1) / 2
    spread = float(place @ place)
    slope: np.ndarray = (
        place @ values.mean(axis=1) / spread if spread else np.zeros(values.shape[2])
    )
    return slope


def _without_rounding(origin: float) -> float:
    """Whole and half patches are what models have; a thousandth beside them is rounding."""
    half = round(2 * origin) / 2
    return half if abs(origin - half) < NEAR else origin
