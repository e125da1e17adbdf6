"""Linear CKA of what two models hold of the same positions: biased, and unbiased.

Rows are positions. CKA is HSIC(A, B) / √(HSIC(A, A) · HSIC(B, B)) of the linear kernels AAᵀ and
BBᵀ: 1 for a table and any rotation, shift or scaling of it. The biased estimate is far above 0
for independent tables of few positions and many channels; Song et al.'s HSIC₁ is not.

Source: Kornblith et al., ICML 2019 (CKA); Song et al., JMLR 2012, Eq. 5 (HSIC₁).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from pe_inspect.arrays import Float

__all__ = ["Centred", "centred", "cka", "cka_matrix"]

LEAST_UNBIASED: Final = 4  # positions: HSIC₁ divides by n − 3
ROUNDING: Final = 4  # what is left of a constant table, in units of the last place, at most


@dataclass(frozen=True, eq=False)
class Centred:
    """Rows about their mean, with no more columns than rows.

    Attributes:
        rows: (n, d); a wider table is turned into n columns, which keeps every inner product.
        squares: the squared length of each row.
    """

    rows: Float[np.ndarray, "positions channels"]
    squares: Float[np.ndarray, " positions"]


def centred(rows: Float[np.ndarray, "positions channels"]) -> Centred:
    """Return rows about their mean, ready to be compared.

    Float64 is kept where it is given; float32 halves the memory of many layers, at 1e-6.
    """
    if not len(rows):
        return Centred(rows, np.zeros(0))
    about = rows - rows.mean(axis=0, dtype=np.float64).astype(rows.dtype)
    rounding = ROUNDING * np.finfo(rows.dtype).eps * float(np.linalg.norm(rows))
    if float(np.linalg.norm(about)) <= rounding:
        about = np.zeros_like(about)
    if about.shape[1] > about.shape[0]:
        right: Any = np.linalg.qr(about.T, mode="r")  # numpy types it as Q and R
        about = np.ascontiguousarray(right.T)
    return Centred(about, np.einsum("nd,nd->n", about, about, dtype=np.float64))


def cka(
    first: Float[np.ndarray, "positions channels"],
    second: Float[np.ndarray, "positions others"],
    *,
    unbiased: bool = False,
) -> float:
    """Return the linear CKA of two tables over the same positions.

    Args:
        first: one row a position.
        second: likewise; channels may be fewer or more.
        unbiased: by HSIC₁, whose expectation is 0 for independent tables; it can be negative.

    Returns:
        NaN where a table is constant, or where fewer than four positions are left for HSIC₁.
    """
    pair = [centred(np.asarray(rows, np.float64)) for rows in (first, second)]
    return float(cka_matrix(pair, unbiased=unbiased)[0, 1])


def cka_matrix(
    tables: Sequence[Centred], *, unbiased: bool = False
) -> Float[np.ndarray, "tables tables"]:
    """Return the linear CKA of every two tables; NaN as in `cka`."""
    found = np.full((len(tables),) * 2, np.nan)
    estimate = _hsic_1 if unbiased else _hsic
    for i, one in enumerate(tables):
        for j, other in enumerate(tables[: i + 1]):
            found[i, j] = found[j, i] = estimate(one, other)
    own = np.diag(found).copy()
    own[~(own > 0)] = np.nan
    return np.asarray(found / np.sqrt(np.outer(own, own)))


def _hsic(one: Centred, other: Centred) -> float:
    """Return ‖AᵀB‖²: the biased HSIC, times (n − 1)²."""
    cross = one.rows.T @ other.rows
    return float(np.einsum("ij,ij->", cross, cross, dtype=np.float64))


def _hsic_1(one: Centred, other: Centred) -> float:
    """Return Song et al.'s HSIC₁, times n(n − 3).

    With centred rows the kernel without its diagonal, K̃, has row sums −|a_i|², so that no N×N
    matrix is needed. HSIC₁ itself does not change with the mean.
    """
    n = len(one.rows)
    if n < LEAST_UNBIASED:
        return float("nan")
    both = float(one.squares @ other.squares)
    totals = float(one.squares.sum() * other.squares.sum())
    return _hsic(one, other) - both + totals / ((n - 1) * (n - 2)) - 2 * both / (n - 2)
