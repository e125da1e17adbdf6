"""How far two tables are apart once one is rotated onto the other."""

from __future__ import annotations

import math

import numpy as np

from pe_inspect.analysis.compare.cka import Centred, centred
from pe_inspect.arrays import Float

__all__ = ["procrustes", "procrustes_distance"]


def procrustes(
    first: Float[np.ndarray, "positions channels"], second: Float[np.ndarray, "positions others"]
) -> float:
    """Return the Procrustes distance of two tables over the same positions.

    Both are centred and scaled to length 1, and the second is turned (and mirrored) onto the
    first as well as can be: min_Q ‖A − BQ‖ = √(2 − 2·‖AᵀB‖₊), the sum of singular values. It is 0
    for a rotated, shifted or scaled copy and √2 where nothing is shared; the narrower table is
    filled up with zeros. Channels of two seeds mean nothing to each other before they are aligned.

    Args:
        first: one row a position.
        second: likewise.

    Returns:
        NaN where a table is constant.

    Source: Schönemann, Psychometrika 1966; Williams et al., NeurIPS 2021.
    """
    pair = [centred(np.asarray(rows, np.float64)) for rows in (first, second)]
    return procrustes_distance(*pair)


def procrustes_distance(first: Centred, second: Centred) -> float:
    """Return `procrustes` of two tables that are centred already."""
    scale = math.sqrt(float(first.squares.sum()) * float(second.squares.sum()))
    if not scale > 0:
        return float("nan")
    shared = np.linalg.svd(first.rows.T @ second.rows, compute_uv=False)
    return math.sqrt(max(2 - 2 * float(shared.sum(dtype=np.float64)) / scale, 0.0))
