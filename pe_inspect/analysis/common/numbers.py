"""Sums that leave out what is undefined, instead of letting one NaN erase everything."""

from __future__ import annotations

from typing import Final

import numpy as np

from pe_inspect.arrays import Float, Float32, Int
from pe_inspect.kinds.affinity import cosines

ROUNDING: Final = 4 * float(np.finfo(np.float32).eps)  # of a number, relative to it

__all__ = ["are_equal", "cosine_of", "least", "mean_of", "pearson", "unit_rows", "weighted_mean"]


def mean_of(values: Float[np.ndarray, "..."]) -> float:
    """The mean of the finite values; NaN where there is none."""
    finite = values[np.isfinite(values)]
    return float(finite.mean(dtype=np.float64)) if finite.size else float("nan")


def least(values: Float[np.ndarray, "..."]) -> float:
    """The least of the finite values; NaN where there is none."""
    finite = values[np.isfinite(values)]
    return float(finite.min()) if finite.size else float("nan")


def weighted_mean(
    values: Float[np.ndarray, " entries"],
    weights: Float[np.ndarray, " entries"] | Int[np.ndarray, " entries"],
) -> float:
    """The weighted mean of the finite values; NaN where none has a weight."""
    known = np.isfinite(values) & (weights > 0)
    return float(np.average(values[known], weights=weights[known])) if known.any() else float("nan")


def pearson(x: Float[np.ndarray, "..."], y: Float[np.ndarray, "..."]) -> float:
    """Pearson's correlation over the entries finite in both.

    NaN where one varies by no more than float32's rounding.
    """
    both = np.isfinite(x) & np.isfinite(y)
    return cosine_of(*(_about_mean(each[both].astype(np.float64)) for each in (x, y)))


def _about_mean(values: Float[np.ndarray, " entries"]) -> Float[np.ndarray, " entries"]:
    """What is left without the mean; zeros where that is rounding."""
    left = values - mean_of(values)
    varies = float(np.linalg.norm(left)) > ROUNDING * float(np.linalg.norm(values))
    return left if varies else np.zeros_like(left)


def cosine_of(x: Float[np.ndarray, " entries"], y: Float[np.ndarray, " entries"]) -> float:
    """The cosine of two vectors; NaN where one is zero or not finite."""
    x, y = x.astype(np.float64), y.astype(np.float64)
    scale = float(np.linalg.norm(x)) * float(np.linalg.norm(y))
    return float(x @ y / scale) if 0 < scale < np.inf else float("nan")


def are_equal(rows: Float32[np.ndarray, "rows channels"]) -> bool:
    """Whether there are several rows, all of them the same and finite."""
    return len(rows) > 1 and bool(np.isfinite(rows[0]).all() and np.all(rows == rows[0]))


def unit_rows(
    values: Float32[np.ndarray, "*grid channels"],
) -> Float32[np.ndarray, "*grid channels"]:
    """Rows of length one; a zero or non-finite row is NaN: it has no direction."""
    found = cosines(values.reshape(-1, values.shape[-1]))
    rows: np.ndarray = found.factors[0]
    rows[found.undefined] = np.nan
    return rows.reshape(values.shape)
