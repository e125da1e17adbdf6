"""How a table's variation over positions divides among spatial frequencies."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, TypeAlias

import numpy as np

from pe_inspect.arrays import Float, Float32

__all__ = ["high_share", "in_parts", "power", "radial"]

PART: Final = 64  # channels that are transformed at once: what is held is small whatever D is
ROUNDING: Final = (4 * float(np.finfo(np.float32).eps)) ** 2  # of a constant table, as power

Power: TypeAlias = np.ndarray  # (rows, columns)


def in_parts(
    table: Float32[np.ndarray, "rows columns channels"],
) -> Iterator[Float32[np.ndarray, "rows columns few"]]:
    """Yield all channels of a table, some at a time."""
    for start in range(0, table.shape[2], PART):
        yield table[:, :, start : start + PART]


def power(parts: Iterable[Float32[np.ndarray, "rows columns few"]]) -> Power:
    """Squared Fourier coefficients |F(k)/(H·W)|², summed over all channels, by (k_y, k_x).

    Divided by the number of positions, a coefficient is an amplitude, which does not depend on
    the grid.

    Args:
        parts: of a table, as `in_parts` gives them.
    """
    return np.asarray(sum(map(_power, parts)))


def _power(part: Float32[np.ndarray, "rows columns few"]) -> Power:
    rows, columns, _ = part.shape
    if not np.isfinite(part).all():
        return np.full((rows, columns), np.nan)
    half = np.fft.rfft2(part.astype(np.float64), axes=(0, 1))
    squares = (half.real**2 + half.imag**2).sum(axis=-1) / (rows * columns) ** 2
    return _both_halves(squares, columns)


def _both_halves(half: Power, columns: int) -> Power:
    """The coefficients at −k have the power of those at k: channels are real."""
    opposite = np.roll(half[::-1], 1, axis=0)
    return np.concatenate([half, opposite[:, 1 : (columns + 1) // 2][:, ::-1]], axis=1)


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
