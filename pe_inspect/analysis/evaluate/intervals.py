"""Intervals of shares, and of differences of shares on the same images, that hold at the edges.

Where all images are correct, or none changed, the error of a normal approximation is 0; these
intervals still have a width.
"""

from __future__ import annotations

import math
from typing import Final

__all__ = ["LEVEL", "newcombe", "wilson"]

LEVEL: Final = 0.95
_Z: Final = 1.959963984540054  # the normal quantile at (1 + LEVEL)/2

Interval = tuple[float, float]


def wilson(correct: int, count: int) -> Interval:
    """Return the score interval of a share.

    Source: E. B. Wilson, J. Am. Stat. Assoc. 22 (1927) 209.
    """
    share, spread = correct / count, _Z**2 / count
    middle = share + spread / 2
    half = math.sqrt(spread * (share * (1 - share) + spread / 4))
    low, high = ((middle + side * half) / (1 + spread) for side in (-1, 1))
    return (0.0 if correct == 0 else low), (1.0 if correct == count else high)


def newcombe(both: int, gained: int, lost: int, neither: int) -> Interval:
    """Return the interval of a difference of two shares over the same images.

    Wilson's intervals of both shares are put together as squares and added, with the correlation
    of the pairs, which is corrected for continuity.

    Args:
        both: images that are correct under both conditions.
        gained: under the first only.
        lost: under the second only.
        neither: under none.

    Source: R. G. Newcombe, Statist. Med. 17 (1998) 2635, method 10.
    """
    count = both + gained + lost + neither
    first, second = both + gained, both + lost
    (low, high), (other_low, other_high) = wilson(first, count), wilson(second, count)
    below = (first / count - low, other_high - second / count)
    above = (high - first / count, second / count - other_low)
    alike = _correlation(both, gained, lost, neither)
    difference = (gained - lost) / count
    return difference - _added(*below, alike), difference + _added(*above, alike)


def _correlation(both: int, gained: int, lost: int, neither: int) -> float:
    """Return φ̂ of the pairs; 0 where a share is 0 or 1."""
    count = both + gained + lost + neither
    product = float(both * neither - gained * lost)
    if product > 0:
        product = max(product - count / 2, 0.0)
    scale = (both + gained) * (lost + neither) * (both + lost) * (gained + neither)
    return product / math.sqrt(scale) if scale else 0.0


def _added(one: float, other: float, alike: float) -> float:
    return math.sqrt(max(one**2 - 2 * alike * one * other + other**2, 0.0))
