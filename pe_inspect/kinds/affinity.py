"""How alike two positions are, for every kind of scheme: one picture for all of them.

Two forms cover all kinds. `Products` holds one row a position, whose inner products are the
affinity (cosines of vectors, mean cosine of phase differences); it gives any row of the map
without computing the map. `Values` holds the map itself (a bias, or cosines of relation vectors).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from pe_inspect.arrays import Bool, Float32, Shaped

__all__ = [
    "Affinity",
    "Products",
    "Values",
    "cosines",
    "undefined_rows",
]


@runtime_checkable
class Affinity(Protocol):
    """The patch-to-patch map of one layer, computed only as far as it is asked for."""

    @property
    def num_heads(self) -> int:
        """Maps of this layer."""
        ...

    @property
    def undefined(self) -> Bool[np.ndarray, " patches"]:
        """Which patches have no affinity in some head: a zero or a non-finite row."""
        ...

    def map(self, head: int | None) -> Float32[np.ndarray, "patches patches"]:
        """The map of one head, or the mean over heads; undefined pairs are NaN."""
        ...

    def rows(
        self, index: Sequence[int], head: int | None = None
    ) -> Float32[np.ndarray, "heads rows patches"]:
        """Some rows of every head's map, or of one head's."""
        ...


@dataclass(frozen=True, eq=False)
class Products:
    """Affinity as inner products of one row a patch.

    Attributes:
        factors: per head, the rows; those of undefined patches are zero.
        missing: which patches are undefined, per head.
    """

    factors: Float32[np.ndarray, "heads patches features"]
    missing: Bool[np.ndarray, "heads patches"]

    @property
    def num_heads(self) -> int:
        """Maps of this layer."""
        return len(self.factors)

    @property
    def undefined(self) -> Bool[np.ndarray, " patches"]:
        """Which patches are undefined in some head."""
        return _any(self.missing)

    def map(self, head: int | None) -> Float32[np.ndarray, "patches patches"]:
        """The map of one head, or the mean over heads.

        One product gives the mean: the heads' rows side by side are one long row.
        """
        heads = slice(None) if head is None else slice(head, head + 1)
        rows = np.moveaxis(self.factors[heads], 0, 1).reshape(self.factors.shape[1], -1)
        result = rows @ rows.T  # x @ x.T costs BLAS half a product, and is exactly symmetric
        if len(self.factors[heads]) > 1:
            result /= self.num_heads
        missing = _any(self.missing[heads])
        return _bounded(result, missing, missing)

    def rows(
        self, index: Sequence[int], head: int | None = None
    ) -> Float32[np.ndarray, "heads rows patches"]:
        """Some rows of every head's map, or of one head's."""
        heads = slice(None) if head is None else slice(head, head + 1)
        factors, missing = self.factors[heads], self.missing[heads]
        result = factors[:, list(index)] @ factors.transpose(0, 2, 1)
        for values, absent in zip(result, missing):
            _bounded(values, absent[list(index)], absent)
        return np.asarray(result)


@dataclass(frozen=True, eq=False)
class Values:
    """Affinity as the maps themselves; what is not finite is missing."""

    values: Float32[np.ndarray, "heads patches patches"]

    @property
    def num_heads(self) -> int:
        """Maps of this layer."""
        return len(self.values)

    @property
    def undefined(self) -> Bool[np.ndarray, " patches"]:
        """Which patches have a value that is not finite, in some head."""
        return _any(~np.isfinite(self.values).all(axis=2))

    def map(self, head: int | None) -> Float32[np.ndarray, "patches patches"]:
        """The map of one head, or the mean over heads."""
        with np.errstate(invalid="ignore"):
            values = self.values.mean(axis=0) if head is None else self.values[head]
        return _finite(values)

    def rows(
        self, index: Sequence[int], head: int | None = None
    ) -> Float32[np.ndarray, "heads rows patches"]:
        """Some rows of every head's map, or of one head's."""
        heads = slice(None) if head is None else slice(head, head + 1)
        return _finite(self.values[heads, list(index)])


def cosines(vectors: Shaped[np.ndarray, "patches features"]) -> Products:
    """Return the cosines of all pairs of rows.

    Equal to `torch.nn.functional.cosine_similarity` to 1e-6, but for rows whose norm is 0 or not
    finite: their cosines are undefined, and NaN here, where torch says 0 or spreads the NaN.
    """
    rows = vectors.astype(np.float64)  # float32 squares overflow from 1e19 on
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        norms = np.sqrt(np.einsum("nd,nd->n", rows, rows))
        missing = ~np.isfinite(norms) | (norms == 0)
        rows *= (1 / np.where(missing, 1, norms))[:, None]
    rows[missing] = 0
    return Products(rows.astype(np.float32)[None], missing[None])


def undefined_rows(vectors: Shaped[np.ndarray, "patches features"]) -> int:
    """Return how many rows have no cosine: they are zero, or not finite."""
    return int(np.count_nonzero(cosines(vectors).undefined))


def _any(flags: Bool[np.ndarray, "heads patches"]) -> Bool[np.ndarray, " patches"]:
    """Whether a flag is set in some head."""
    return np.asarray(flags.any(axis=0))


def _bounded(values: np.ndarray, missing_rows: np.ndarray, missing: np.ndarray) -> np.ndarray:
    """Keep rounding inside [−1, 1], and set what is undefined to NaN, in place."""
    np.clip(values, -1, 1, out=values)
    if missing.any():
        values[missing_rows] = np.nan
        values[:, missing] = np.nan
    return values


def _finite(values: np.ndarray) -> np.ndarray:
    return np.where(np.isfinite(values), values, np.float32(np.nan))
