"""How much the layers' maps differ: 1 − the mean correlation of all pairs of layers."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Final

import numpy as np

from pe_inspect.analysis.common.numbers import ROUNDING, pearson
from pe_inspect.arrays import Float, Float32

__all__ = ["KEPT", "hierarchy", "is_thinned", "kept_queries", "layer_correlations", "off_diagonal"]

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
            found[one, other] = found[other, one] = _correlation(maps[one], maps[other])
    return found


def off_diagonal(values: Float32[np.ndarray, "patches patches"]) -> Float32[np.ndarray, " pairs"]:
    """Return the affinities of pairs of different patches: of all, or of `kept_queries`.

    They are about their mean, and of length one; those of a constant map are NaN, and undefined
    ones are kept as NaN in a map that is not scaled.
    """
    queries = kept_queries(len(values))
    rows = values[queries]
    kept = np.ones(rows.shape, bool)
    kept[np.arange(len(queries)), queries] = False
    pairs: np.ndarray = rows[kept]
    return _unit(pairs) if np.isfinite(pairs).all() else pairs


def _unit(pairs: Float32[np.ndarray, " pairs"]) -> Float32[np.ndarray, " pairs"]:
    if not pairs.size:
        return pairs
    largest = float(np.abs(pairs).max())
    centred = pairs - np.float32(pairs.mean(dtype=np.float64))
    length = float(np.linalg.norm(centred))
    if not length > ROUNDING * largest * np.sqrt(pairs.size):
        return np.full_like(pairs, np.nan)
    centred /= np.float32(length)
    return centred


def _correlation(one: Float32[np.ndarray, " pairs"], other: Float32[np.ndarray, " pairs"]) -> float:
    """Of maps of length one their product; where pairs are missing, over those in both."""
    product = float(one @ other) if one.size else float("nan")
    return product if np.isfinite(product) else pearson(one, other)


def kept_queries(patches: int) -> np.ndarray:
    """Return all patches, or as many evenly spaced ones as `KEPT` pairs allow."""
    count = min(patches, max(KEPT // patches, 1))
    chosen: np.ndarray = (2 * np.arange(count) + 1) * patches // (2 * count)
    return chosen


def is_thinned(patches: int) -> str:
    """Say that not all pairs decide the hierarchy; empty where all do."""
    count = len(kept_queries(patches))
    if count == patches:
        return ""
    return (
        f"The hierarchy is over the pairs of {count} evenly spaced query patches of {patches} with "
        "all others; of independent maps a correlation is off by about "
        f"{1 / np.sqrt(count * patches):.1g}."
    )
