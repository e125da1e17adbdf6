"""When structure appears in a run, layer by layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from pe_inspect.analysis.structure.indices import COLUMNS
from pe_inspect.arrays import Float

__all__ = ["APPEARS_BY", "APPEARS_WORDS", "LEAST_CHANGE", "OF_STRUCTURE", "appears_at"]

OF_STRUCTURE: Final = COLUMNS
"""The numbers of a layer that `structure` defines."""
APPEARS_BY: Final = "ssdc_l1"
LEAST_CHANGE: Final = 0.1  # of that number over a run: with less, nothing appeared
APPEARS_WORDS: Final = (
    "the first epoch from which on a layer's ssdc_l1 is nearer to its last value than to its "
    f"first, in every snapshot; missing where the two are less than {LEAST_CHANGE} apart"
)


def appears_at(
    values: Float[np.ndarray, "snapshots layers"], epochs: Sequence[int]
) -> Float[np.ndarray, " layers"]:
    """Return the epoch from which on each layer's number is past half of its way.

    Args:
        values: the number in every snapshot.
        epochs: those of the snapshots.

    Returns:
        NaN where the number hardly changes, or is not defined at both ends.
    """
    first, last = values[0], values[-1]
    with np.errstate(invalid="ignore"):
        is_near = np.abs(values - last) < np.abs(values - first)
        changes = np.abs(last - first) >= LEAST_CHANGE
    late = [np.flatnonzero(~layer) for layer in is_near.T]
    starts = [float(epochs[places[-1] + 1]) if changed else np.nan
              for places, changed in zip(late, changes)]  # fmt: skip
    return np.array(starts)
