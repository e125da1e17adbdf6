"""Whether neighbouring positions are more alike than any two: Moran's I of a table of vectors.

I is the mean inner product of neighbours over that of a row with itself, the mean row taken out: 1
where neighbours are the same, 0 where they know nothing of each other. Its null distribution is
exact in its first two moments: the rows of an untrained table are exchangeable, so that each order
of them is as likely as any other.

Sources: P. A. P. Moran, "Notes on continuous stochastic phenomena", 1950; the moments under
permutation, N. Mantel, "The detection of disease clustering", 1967, section 4.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import erfc, inf, sqrt

import numpy as np

from pe_inspect.arrays import Float, Float32

__all__ = ["Neighbours", "Positions", "neighbours", "spectral_excess"]

FEWEST = 6  # patches; of fewer, too few orders exist to tell one from another


@dataclass(frozen=True)
class Neighbours:
    """How alike neighbours are.

    Attributes:
        correlation: Moran's I over the four neighbours of every patch.
        z: its distance from what exchangeable rows give, in standard deviations.
    """

    correlation: float
    z: float

    @property
    def p_value(self) -> float:
        """The chance that exchangeable rows are at least as alike (normal tail)."""
        return 0.5 * erfc(self.z / sqrt(2)) if np.isfinite(self.z) else float("nan")


class Positions:
    """The rows of a table, centred once, to be looked at on one grid or on many.

    Args:
        patches: one row a patch. Where a value is not finite, or all rows are equal, nothing can be
            said of neighbours, and all answers are NaN.
    """

    def __init__(self, patches: Float32[np.ndarray, "patches channels"]) -> None:
        is_sound = bool(np.isfinite(patches).all()) and bool((patches != patches[:1]).any())
        rows = patches.astype(np.float64) if is_sound else np.zeros_like(patches, np.float64)
        self._rows = rows - rows.mean(axis=0)
        self._own = np.square(self._rows).sum(axis=1)
        self._total = float(self._own.sum())

    def correlation(self, grid_size: tuple[int, int]) -> float:
        """Moran's I on a grid (H, W), row-major; NaN on a single patch."""
        edges = int(_degrees(grid_size).sum()) / 2
        if not edges or not self._total > 0:
            return float("nan")
        return self._products(grid_size) * len(self._rows) / edges / self._total

    def on(self, grid_size: tuple[int, int]) -> Neighbours:
        """Moran's I on a grid (H, W), and its distance from chance."""
        correlation = self.correlation(grid_size)
        if np.isnan(correlation) or len(self._rows) < FEWEST:
            return Neighbours(correlation, float("nan"))
        return Neighbours(correlation, self._distance(grid_size))

    def _products(self, grid_size: tuple[int, int]) -> float:
        field = self._rows.reshape(*grid_size, -1)
        down = np.einsum("ijc,ijc->", field[1:], field[:-1])
        return float(down + np.einsum("ijc,ijc->", field[:, 1:], field[:, :-1]))

    def _distance(self, grid_size: tuple[int, int]) -> float:
        """Mantel's standardised statistic of the neighbour matrix and the Gram matrix."""
        degrees = _degrees(grid_size)
        near = (degrees.sum(), degrees.sum(), float(np.square(degrees).sum()))
        mean, square = _moments(near, self._gram, len(self._rows))
        variance = square - mean**2
        return (2 * self._products(grid_size) - mean) / sqrt(variance) if variance > 0 else inf

    @cached_property
    def _gram(self) -> tuple[float, float, float]:
        """The sums of the Gram matrix that the moments take; its rows sum to zero."""
        num, channels = self._rows.shape
        small = self._rows.T @ self._rows if channels < num else self._rows @ self._rows.T
        diagonal = float(np.square(self._own).sum())
        return -self._total, float(np.square(small).sum()) - diagonal, diagonal


def neighbours(
    patches: Float32[np.ndarray, "patches channels"], grid_size: tuple[int, int]
) -> Neighbours:
    """Return Moran's I of the rows on a grid (H, W), row-major, and its distance from chance."""
    return Positions(patches).on(grid_size)


def _degrees(grid_size: tuple[int, int]) -> Float[np.ndarray, " patches"]:
    """How many of its four neighbours each patch has."""
    along = [np.full(side, 2.0) for side in grid_size]
    for axis in along:
        axis[0] -= 1
        axis[-1] -= 1
    degrees: Float[np.ndarray, " patches"] = np.add.outer(*along).ravel()
    return degrees


def _moments(
    a: tuple[float, float, float], b: tuple[float, float, float], n: int
) -> tuple[float, float]:
    """Mean and mean square of ΣΣ A[i, j]·B[π(i), π(j)] over all permutations π.

    Each matrix comes as its sum, its sum of squares, and the sum of its squared row sums, all
    without the diagonal.
    """
    pairs, triples = n * (n - 1), n * (n - 1) * (n - 2)
    square = (
        2 * a[1] * b[1] / pairs
        + 4 * (a[2] - a[1]) * (b[2] - b[1]) / triples
        + (a[0] ** 2 + 2 * a[1] - 4 * a[2])
        * (b[0] ** 2 + 2 * b[1] - 4 * b[2])
        / (triples * (n - 3))
    )
    return a[0] * b[0] / pairs, square


def spectral_excess(patches: Float32[np.ndarray, "patches channels"]) -> float:
    """The largest variance along any direction, over the largest that independent noise has.

    About 1 for independent entries of one variance; many times that where rows vary together. Rows
    are taken at unit length, so that one large entry, as truncated normals sometimes have, does not
    pass for structure.

    Source: V. A. Marchenko and L. A. Pastur, "Distribution of eigenvalues for some sets of random
    matrices", 1967: the upper edge of the spectrum.
    """
    rows = patches.astype(np.float64)
    rows = rows - rows.mean(axis=0)
    lengths = np.sqrt(np.square(rows).sum(axis=1, keepdims=True))
    rows = rows[lengths[:, 0] > 0] / lengths[lengths > 0][:, None]
    if not len(rows):
        return float("nan")
    num, channels = len(rows) - 1, rows.shape[1]
    gram = rows.T @ rows if channels <= len(rows) else rows @ rows.T
    largest = np.linalg.eigvalsh(gram)[-1]
    return float(largest * channels / (sqrt(num) + sqrt(channels)) ** 2)
