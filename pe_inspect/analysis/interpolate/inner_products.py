"""What a separable resampling does to a table, told from the inner products of the table's rows.

With G[ab, cd] = ⟨x_ab, x_cd⟩ and new rows y_ij = Σ A[i, a]·B[j, b]·x_ab, every length, cosine and
distance of new rows is a sum over G. So the measures of a method need its two small matrices only,
and all methods share one G; the table on the target grid is not made.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np

from pe_inspect.analysis.interpolate.directions import evenly_spread
from pe_inspect.arrays import Float

__all__ = ["MAX_POSITIONS", "InnerProducts"]

MAX_POSITIONS: Final = 2048  # beyond which G is larger, and slower, than the tables themselves

Matrix = np.ndarray  # (target, source) of one axis


@dataclass(frozen=True, eq=False)
class InnerProducts:
    """The inner products of all pairs of rows of one table, in float64.

    Attributes:
        values: (rows, columns, channels), finite.
    """

    values: Float[np.ndarray, "rows columns channels"]

    @cached_property
    def by_pair(self) -> Float[np.ndarray, "rows columns rows columns"]:
        """G: row a, column b with row c, column d."""
        rows, columns, channels = self.values.shape
        flat = self.values.reshape(-1, channels).astype(np.float64)
        return (flat @ flat.T).reshape(rows, columns, rows, columns)

    @cached_property
    def norms(self) -> Float[np.ndarray, "rows columns"]:
        """The L2 norm of each row."""
        rows, columns = self.values.shape[:2]
        squares = self.by_pair.reshape(rows * columns, -1).diagonal()
        return np.asarray(np.sqrt(squares).reshape(rows, columns))

    @cached_property
    def _by_axis(self) -> Float[np.ndarray, "row_pairs column_pairs"]:
        """G as a matrix: pairs of rows (a, c) by pairs of columns (b, d)."""
        rows, columns = self.values.shape[:2]
        swapped = self.by_pair.transpose(0, 2, 1, 3)
        return np.ascontiguousarray(swapped).reshape(rows * rows, columns * columns)

    @cached_property
    def _either_order(self) -> Float[np.ndarray, "row_pairs column_pairs"]:
        """The same for unordered pairs: all that a product of a row with itself needs.

        G is symmetric under both swaps at once, so what is symmetric in (b, d) is so in (a, c).
        """
        (ra, rc), (cb, cd) = (np.triu_indices(side) for side in self.values.shape[:2])
        g = self.by_pair
        rows, columns = (ra[:, None], rc[:, None]), (cb, cd)
        both: np.ndarray = g[rows[0], columns[0], rows[1], columns[1]]
        both += g[rows[1], columns[0], rows[0], columns[1]]
        return both / 2

    def with_itself(
        self, down: tuple[Matrix, Matrix], across: tuple[Matrix, Matrix]
    ) -> Float[np.ndarray, "new_rows new_columns"]:
        """⟨y_ij, y′_ij⟩ by place, of two resampled tables that share one axis' matrix.

        Args:
            down: the matrices of the rows, of y and of y′.
            across: those of the columns; one of the two pairs is twice the same matrix.
        """
        return np.asarray(_unordered(*down) @ self._either_order @ _unordered(*across).T)

    def between(
        self, first: tuple[Matrix, Matrix], second: tuple[Matrix, Matrix]
    ) -> Float[np.ndarray, "new_rows new_columns"]:
        """⟨y_ij, y′_ij⟩ by place, of any two: y by (down, across), and y′ likewise."""
        (down, across), (other_down, other_across) = first, second
        rows, columns = _ordered(down, other_down), _ordered(across, other_across)
        return np.asarray(rows @ self._by_axis @ columns.T)

    def distance(self, first: tuple[Matrix, Matrix], second: tuple[Matrix, Matrix]) -> float:
        """‖Y − Y′‖² over the whole tables.

        A⊗B − C⊗D = (A − C)⊗B + C⊗(B − D): squares of what differs, no differences of squares.
        """
        (a, b), (c, d) = first, second
        e, f = a - c, b - d
        total = sum(
            factor * float((left.T @ right).ravel() @ self._by_axis @ (up.T @ low).ravel())
            for factor, left, right, up, low in (
                (1, e, e, b, b), (2, e, c, b, f), (1, c, c, f, f),
            )
        )  # fmt: skip
        return max(total, 0.0)

    def errors(self, down: Matrix, across: Matrix) -> Float[np.ndarray, "rows columns"]:
        """‖y_ij − x_ij‖ for matrices that lead from the grid to itself."""
        ones = [np.eye(len(matrix)) for matrix in (down, across)]
        e, f = down - ones[0], across - ones[1]
        squares = self.with_itself((e, e), (across, across))
        squares += self.with_itself((ones[0], ones[0]), (f, f))
        if e.any() and f.any():
            squares += 2 * self.between((e, across), (ones[0], f))
        return np.asarray(np.sqrt(np.maximum(squares, 0)))

    def on_grid(
        self, down: Matrix, across: Matrix
    ) -> tuple[Float[np.ndarray, "queries positions"], Float[np.ndarray, "rows columns"]]:
        """⟨y_q, y_p⟩ of evenly spread places with all, and ⟨y_ij, x_ij⟩.

        For matrices that lead from the grid to places as many.
        """
        rows, columns = len(down), len(across)
        queries = evenly_spread(rows * columns)
        parts, with_source = [], np.empty((rows, columns))
        for i, row in enumerate(self._down(down)):
            here = queries[queries // columns == i] % columns
            parts.append(np.tensordot(across[here], row, 1))
            with_source[i] = np.einsum("jb,bj->j", across, row[:, i])
        some = np.concatenate(parts)  # (queries, rows, columns)
        found = down @ (some @ across.T)
        return found.reshape(len(queries), -1), with_source

    def _down(self, down: Matrix) -> Iterator[Float[np.ndarray, "columns rows columns"]]:
        """Σ_a A[i, a]·G[ab, cd], one i after the other."""
        rows, columns = self.values.shape[:2]
        made = down @ self.by_pair.reshape(rows, -1)
        yield from made.reshape(-1, columns, rows, columns)


def _ordered(one: Matrix, other: Matrix) -> Float[np.ndarray, "target pairs"]:
    """one[i, a]·other[i, c]."""
    return np.asarray((one[:, :, None] * other[:, None, :]).reshape(len(one), -1))


def _unordered(one: Matrix, other: Matrix) -> Float[np.ndarray, "target pairs"]:
    """The same of (a, c) and (c, a) together."""
    a, c = np.triu_indices(one.shape[1])
    pairs = one[:, a] * other[:, c]
    pairs += np.where(a == c, 0, one[:, c] * other[:, a])
    return np.asarray(pairs)
