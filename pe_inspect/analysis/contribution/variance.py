"""Shares of variance by position, and how alike two sets of tokens are."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from pe_inspect.analysis.common.replicate_intervals import interval_of
from pe_inspect.arrays import Float
from pe_inspect.traces import TokenSums

__all__ = ["VarianceShares", "linear_cka", "omega2_interval", "shares_of"]


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
    omega2 = _omega2(images, patches, by_position, sums.ss_total, sums.ss_images)
    return VarianceShares(float(omega2), by_position / sums.ss_total)


def _omega2(images: Any, patches: int, by_position: Any, total: Any, by_image: Any) -> Any:
    rest = np.maximum(total - by_position - by_image, 0.0)
    error = rest / ((images - 1) * (patches - 1))
    return (by_position - (patches - 1) * error) / (total + error)


def omega2_interval(sums: TokenSums, images: int) -> tuple[float, float]:
    """Return the ends of a 95 % interval of ω² over images; NaN without replicates of them."""
    drawn = sums.replicates
    if drawn is None or images < 2 or sums.num_patches < 2:
        return float("nan"), float("nan")
    with np.errstate(divide="ignore", invalid="ignore"):
        replicates = _omega2(
            drawn.count, sums.num_patches, drawn.ss_position, drawn.ss_total, drawn.ss_images
        )
    return interval_of(shares_of(sums, images).omega2, np.asarray(replicates))


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
