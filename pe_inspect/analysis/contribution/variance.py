"""Shares of variance by position, and how alike two sets of tokens are."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from pe_inspect.arrays import Float
from pe_inspect.traces import TokenSums

__all__ = ["VarianceShares", "linear_cka", "shares_of"]


class VarianceShares(NamedTuple):
    """ω² and η² of position; NaN where there is one image or one patch."""

    omega2: float
    eta2: float


def shares_of(sums: TokenSums, images: int) -> VarianceShares:
    """Return the shares of a two-way analysis of variance without replication.

    Args:
        sums: of one place, over images and positions.
        images: how many there were.
    """
    patches = sums.num_patches
    if images < 2 or patches < 2 or not sums.ss_total > 0:
        return VarianceShares(float("nan"), float("nan"))
    mean = sums.patches.astype(np.float64)
    by_position = images * float(((mean - mean.mean(axis=0)) ** 2).sum())
    rest = max(sums.ss_total - by_position - sums.ss_images, 0.0)
    error = rest / ((images - 1) * (patches - 1))
    omega2 = (by_position - (patches - 1) * error) / (sums.ss_total + error)
    return VarianceShares(omega2, by_position / sums.ss_total)


def linear_cka(
    one: Float[np.ndarray, "rows channels"], other: Float[np.ndarray, "rows other_channels"]
) -> float:
    """Return the linear CKA of two sets of rows, centred; NaN where one is constant.

    Source: arXiv:1905.00414, Eq. 5.
    """
    a, b = (x.astype(np.float64) - x.mean(axis=0, dtype=np.float64) for x in (one, other))
    between = float(np.square(a.T @ b).sum())
    scale = float(np.linalg.norm(a.T @ a) * np.linalg.norm(b.T @ b))
    return between / scale if scale > 0 else float("nan")
