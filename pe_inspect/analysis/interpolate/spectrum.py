"""How a table's variation over positions divides among spatial frequencies."""

from __future__ import annotations

from typing import Final, TypeAlias

import numpy as np

from pe_inspect.arrays import Float, Float32

__all__ = ["MAX_CHANNELS", "high_share", "power", "radial", "some_channels"]

MAX_CHANNELS: Final = 32
ROUNDING: Final = (4 * float(np.finfo(np.float32).eps)) ** 2  # of a constant table, as power

Power: TypeAlias = np.ndarray  # (rows, columns)


def some_channels(
    table: Float32[np.ndarray, "rows columns channels"],
) -> Float32[np.ndarray, "rows columns few"]:
    """At most `MAX_CHANNELS` of a table, evenly spread: they stand for all in its spectrum."""
    return table[:, :, :: -(-table.shape[2] // MAX_CHANNELS)]


def power(some: Float32[np.ndarray, "rows columns few"], channels: int) -> Power:
    """Squared Fourier coefficients |F(k)/(H·W)|², summed over channels, by (k_y, k_x).

    Divided by the number of positions, a coefficient is an amplitude, which does not depend on
    the grid.

    Args:
        some: `some_channels` of a table.
        channels: how many the table has.
    """
    rows, columns, _ = some.shape
    few = some.astype(np.float64)
    if not np.isfinite(few).all():
        return np.full((rows, columns), np.nan)
    found = np.abs(np.fft.fft2(few, axes=(0, 1))) ** 2
    scale = channels / few.shape[-1] / (rows * columns) ** 2
    summed: np.ndarray = found.sum(axis=-1) * scale
    return summed


def radial(found: Power) -> Float[np.ndarray, " frequencies"]:
    """The power at every whole number of cycles per image, from 0 to half the longer side."""
    ring = np.rint(_cycles(found)).astype(int)
    return np.bincount(ring.ravel(), found.ravel())[: max(found.shape) // 2 + 1]


def high_share(found: Power, above: float) -> float:
    """The share of the variation (all but k = 0) at `above` cycles per image or more.

    NaN where the table varies by no more than float32's rounding: there is nothing to share.
    """
    cycles = _cycles(found)
    varying = found[cycles > 0].sum()
    if not varying > ROUNDING * found.sum():
        return float("nan")
    return float(found[(cycles > 0) & (cycles >= above)].sum() / varying)


def _cycles(found: Power) -> Power:
    """|k| of every coefficient, in cycles per image."""
    y, x = (np.fft.fftfreq(side, 1 / side) for side in found.shape)
    return np.asarray(np.hypot(y[:, None], x))
