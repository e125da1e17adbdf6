"""Rows by place whose cosines are asked for: no array of unit rows is made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from pe_inspect.arrays import Float, Float32, Int

__all__ = ["MAX_PAIRS", "Directions", "cosines_of_queries", "evenly_spread"]

MAX_PAIRS: Final = 1 << 22  # of a map: all of 2,048 positions, 32 MiB in float64
_PLAIN: Final = (1e-12, 1e12)
"""Lengths between which no product of two rows overflows or vanishes in float32."""


@dataclass(frozen=True, eq=False)
class Directions:
    """Rows of a table and their lengths; the cosine with a row of zeros is NaN.

    Attributes:
        rows: (rows, columns, features).
        norms: the L2 norm of each.
    """

    rows: Float32[np.ndarray, "rows columns features"]
    norms: Float32[np.ndarray, "rows columns"]

    def __post_init__(self) -> None:
        lengths = self.norms[np.isfinite(self.norms) & (self.norms > 0)]
        if lengths.size and not (_PLAIN[0] < lengths.min() and lengths.max() < _PLAIN[1]):
            with np.errstate(invalid="ignore", divide="ignore"):
                object.__setattr__(self, "rows", self.rows / self.norms[..., None])
            object.__setattr__(self, "norms", np.where(self.norms > 0, 1, self.norms))

    def at(self, places: Any) -> Directions:
        """Some of them."""
        return Directions(self.rows[places], self.norms[places])

    def turned(self) -> Directions:
        """Columns as rows."""
        return Directions(self.rows.swapaxes(0, 1), self.norms.swapaxes(0, 1))

    def cosines(self, other: Directions) -> Float32[np.ndarray, "rows columns"]:
        """The cosine of each row with the other's at the same place."""
        with np.errstate(all="ignore"):  # of a row that is not finite, NaN
            products = np.einsum("rcd,rcd->rc", self.rows, other.rows)
            return np.asarray(products / (self.norms * other.norms))

    def lagged(self, axis: int, lag: int) -> Float32[np.ndarray, "rows columns"]:
        """The cosines of the rows that lie so many places apart on an axis."""
        along = self.turned() if axis else self
        rest = len(along.norms) - lag
        return along.at(slice(lag, None)).cosines(along.at(slice(None, rest)))

    def query_map(self) -> Float32[np.ndarray, "queries positions"]:
        """The cosines of evenly spread queries with all positions; a query's own is NaN."""
        rows, norms = self.rows.reshape(-1, self.rows.shape[-1]), self.norms.reshape(-1)
        with np.errstate(all="ignore"):
            products: np.ndarray = rows[evenly_spread(len(rows))] @ rows.T
        return cosines_of_queries(products, norms)


def evenly_spread(count: int) -> Int[np.ndarray, " queries"]:
    """All of so many places, or as many as `MAX_PAIRS` allows.

    Their number is odd, so that on a grid they do not all lie in the same few columns.
    """
    number = count if count**2 <= MAX_PAIRS else MAX_PAIRS // count | 1
    return np.arange(number) * count // number


def cosines_of_queries(
    products: Float[np.ndarray, "queries positions"], norms: Float[np.ndarray, " positions"]
) -> Float[np.ndarray, "queries positions"]:
    """The inner products of evenly spread queries as cosines, in place; a query's own is NaN."""
    queries = evenly_spread(len(norms))
    with np.errstate(all="ignore"):
        products /= norms[queries, None] * norms
    products[np.arange(len(queries)), queries] = np.nan
    return products
