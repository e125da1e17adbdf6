"""How much the layers' maps differ: 1 − the mean correlation of all pairs of layers."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Final

import numpy as np

from pe_inspect.analysis.common.numbers import pearson
from pe_inspect.arrays import Float, Float32

__all__ = ["KEPT", "hierarchy", "kept_queries", "layer_correlations", "off_diagonal"]

KEPT: Final = 1 << 21  # pairs of each layer that are kept in memory


def hierarchy(correlations: Float[np.ndarray, "layers layers"]) -> float:
    """Return 1 − the mean of the defined correlations of two different layers; NaN without any.

    0: all layers have one map, but for its scale. 1: their maps have nothing in common.

    Args:
        correlations: as `layer_correlations` gives them.
    """
    pairs = correlations[np.triu_indices(len(correlations), 1)]
    defined = pairs[np.isfinite(pairs)]
    return float(1 - defined.mean()) if defined.size else float("nan")


def layer_correlations(
    maps: Sequence[Float32[np.ndarray, " _"]],
) -> Float[np.ndarray, "layers layers"]:
    """Return Pearson's correlations of all pairs of layers.

    Args:
        maps: the pairs of each layer, as `off_diagonal` gives them; layers whose grids differ
            have different numbers of them, and no correlation.
    """
    found = np.full((len(maps), len(maps)), np.nan)
    for one, other in combinations(range(len(maps)), 2):
        if maps[one].shape == maps[other].shape:
            found[one, other] = found[other, one] = pearson(maps[one], maps[other])
    return found


def off_diagonal(values: Float32[np.ndarray, "patches patches"]) -> Float32[np.ndarray, " pairs"]:
    """Return the affinities of pairs of different patches: of all, or of `kept_queries`."""
    queries = kept_queries(len(values))
    rows = values[queries]
    rows[np.arange(len(queries)), queries] = np.nan
    pairs: Float32[np.ndarray, " pairs"] = rows.ravel()
    return pairs


def kept_queries(patches: int) -> np.ndarray:
    """Return all patches, or as many evenly spaced ones as `KEPT` pairs allow."""
    count = min(patches, max(KEPT // patches, 1))
    chosen: np.ndarray = (2 * np.arange(count) + 1) * patches // (2 * count)
    return chosen
