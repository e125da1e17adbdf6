"""Floors: what the indices are of tables of the same shape that learned nothing."""

from __future__ import annotations

from typing import Final

import numpy as np

from pe_inspect.analysis.structure.indices import Indices, indices_of
from pe_inspect.arrays import Float32
from pe_inspect.kinds.affinity import Affinity, cosines

__all__ = ["BASELINES", "baselines_of", "sincos_table"]

BASELINES: Final = {
    "shuffled": "the same rows at other places, drawn by default_rng(0)",
    "random": "independent normal numbers of the same shape, drawn by default_rng(0)",
    "sincos2d": "the fixed two-dimensional sine and cosine table of the same shape, base 10,000",
}
"""Name → what it is."""
TEMPERATURE: Final = 10_000.0
_BANDS: Final = 4  # channels of one frequency: sine and cosine of two axes


def baselines_of(
    alike: Affinity,
    grid_size: tuple[int, int],
    table: Float32[np.ndarray, "patches channels"] | None,
    channels: int,
    num_frames: int = 1,
) -> dict[str, Indices]:
    """Return the indices of the baselines, by name, as far as the kind has them.

    Args:
        alike: the affinity of the stored table.
        grid_size: (H, W).
        table: its vectors; `None` of a kind without.
        channels: the width of a random and of a fixed table; 0 where there is none.
        num_frames: how many frames stand side by side.
    """
    values, order = alike.map(None), np.random.default_rng(0).permutation(len(alike.undefined))
    moved = None if table is None else table[order]
    shuffled = indices_of(values[np.ix_(order, order)], grid_size, moved, num_frames=num_frames)
    found = {"shuffled": shuffled}
    for name, make in (("random", _random), ("sincos2d", sincos_table)) if channels else ():
        made = make(grid_size, channels)
        known = made if table is not None else None
        found[name] = indices_of(cosines(made).map(None), grid_size, known, num_frames=num_frames)
    return found


def _random(grid_size: tuple[int, int], channels: int) -> Float32[np.ndarray, "patches channels"]:
    shape = (grid_size[0] * grid_size[1], channels)
    return np.random.default_rng(0).standard_normal(shape, np.float32)


def sincos_table(
    grid_size: tuple[int, int], channels: int
) -> Float32[np.ndarray, "patches channels"]:
    """Return sin and cos of y and x at frequencies 10,000^(−k/n), n being a quarter of the width.

    The width is rounded down to a multiple of four, but is at least four.
    """
    bands = max(channels // _BANDS, 1)
    frequencies = TEMPERATURE ** -(np.arange(bands) / bands)
    angles = [axis.reshape(-1, 1) * frequencies for axis in np.indices(grid_size)]
    parts = [function(angle) for angle in angles for function in (np.sin, np.cos)]
    return np.concatenate(parts, axis=1).astype(np.float32)
