"""What inner products tell of a resampled table, without making it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from pe_inspect.analysis.interpolate.directions import cosines_of_queries
from pe_inspect.analysis.interpolate.inner_products import InnerProducts
from pe_inspect.arrays import Float, Int
from pe_inspect.resampling.resampler import Matrices

__all__ = ["ByProducts", "covering", "row_norms"]


@dataclass(frozen=True, eq=False)
class ByProducts:
    """Told by the inner products of the source's rows: no table is made.

    Attributes:
        products: of the source.
        matrices: of rows and columns, to the target.
        back: those of the way back; `None` where there is none.
        covering: the target place that covers each source place's centre, by axis.
    """

    products: InnerProducts
    matrices: Matrices
    back: Matrices | None
    covering: tuple[Int[np.ndarray, " rows"], Int[np.ndarray, " columns"]]

    @cached_property
    def norms(self) -> Float[np.ndarray, "new_rows new_columns"]:
        """The L2 norm of each new row."""
        return self._lengths(*self.matrices)

    def _lengths(self, down: np.ndarray, across: np.ndarray) -> Float[np.ndarray, "rows columns"]:
        squares = self.products.with_itself((down, down), (across, across))
        return np.asarray(np.sqrt(np.maximum(squares, 0)))

    @cached_property
    def query_map(self) -> Float[np.ndarray, "queries positions"]:
        """Cosines of the target places that cover the source places' centres."""
        chosen = [matrix[places] for matrix, places in zip(self.matrices, self.covering)]
        found, _ = self.products.on_grid(chosen[0], chosen[1])
        return cosines_of_queries(found, self.norms[np.ix_(*self.covering)].ravel())

    @cached_property
    def _there_and_back(self) -> Matrices | None:
        if self.back is None:
            return None
        down, across = (back @ there for back, there in zip(self.back, self.matrices))
        return down, across

    @cached_property
    def _products_back(self) -> tuple[np.ndarray, np.ndarray]:
        """The rows that come back, as cosines among themselves and with the source's."""
        rows, columns = self.products.values.shape[:2]
        if self._there_and_back is None:
            return np.array([np.nan]), np.full((rows, columns), np.nan)
        lengths = self._lengths(*self._there_and_back)
        among, with_source = self.products.on_grid(*self._there_and_back)
        with np.errstate(all="ignore"):
            with_source /= lengths * self.products.norms
        return cosines_of_queries(among, lengths.ravel()), with_source

    @property
    def query_map_back(self) -> Float[np.ndarray, "queries positions"]:
        """Cosines of the rows that come back."""
        return np.broadcast_to(self._products_back[0], self.query_map.shape)

    @property
    def cosines_back(self) -> Float[np.ndarray, "rows columns"]:
        """Cosine of each row that comes back with the source's."""
        return self._products_back[1]

    @cached_property
    def errors_back(self) -> Float[np.ndarray, "rows columns"]:
        """The L2 distance between the two."""
        if self._there_and_back is None:
            return np.full(self.products.norms.shape, np.nan)
        return self.products.errors(*self._there_and_back)

    def lagged(self, axis: int, lag: int) -> Float[np.ndarray, "rows columns"]:
        """Cosines of the new rows that lie so many places apart on an axis."""
        pairs = [(matrix, matrix) for matrix in self.matrices]
        count = len(self.matrices[axis]) - lag
        pairs[axis] = (self.matrices[axis][lag:], self.matrices[axis][:count])
        near, far = (
            np.take(self.norms, np.arange(start, start + count), axis) for start in (lag, 0)
        )
        with np.errstate(all="ignore"):
            return np.asarray(self.products.with_itself(pairs[0], pairs[1]) / (near * far))

    def distance(self, other: ByProducts) -> float:
        """‖Y − Y′‖ / ‖Y′‖ over the whole tables."""
        under = float(np.linalg.norm(other.norms))
        over = np.sqrt(self.products.distance(self.matrices, other.matrices))
        return float(over / under) if under > 0 else float("nan")


def row_norms(values: Float[np.ndarray, "rows columns channels"]) -> np.ndarray:
    """The L2 norm of each row; infinite where the values' type does not hold it."""
    squares = np.einsum("rcd,rcd->rc", values, values, dtype=np.float64)
    with np.errstate(over="ignore"):
        return np.asarray(np.sqrt(squares).astype(values.dtype))


def covering(source: int, target: int) -> Int[np.ndarray, " source"]:
    """On one axis, the target patch that covers each source patch's centre."""
    return (2 * np.arange(source) + 1) * target // (2 * source)
