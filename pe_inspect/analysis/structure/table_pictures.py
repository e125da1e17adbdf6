"""What a table of vectors shows by place: lengths of its rows, and waves over the grid."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pe_inspect.arrays import Float32

__all__ = ["row_norms", "wave_energy"]


def row_norms(
    table: Float32[np.ndarray, "patches channels"], sides: Sequence[int]
) -> Float32[np.ndarray, "..."]:
    """Return the Euclidean length of every patch's vector, by place."""
    lengths = np.linalg.norm(table.astype(np.float64), axis=1)
    lengths[~np.isfinite(lengths)] = np.nan
    return lengths.reshape(tuple(sides)).astype(np.float32)


def wave_energy(
    table: Float32[np.ndarray, "patches channels"], sides: Sequence[int]
) -> Float32[np.ndarray, "..."]:
    """Return the share of the centred table's energy in each coefficient of its cosine transform.

    Entry (i, j) is for i half waves over the rows and j over the columns, summed over channels
    (type-II transform, orthonormal); the shares sum to 1. NaN where a row is not finite or all
    rows are equal.
    """
    from scipy.fft import dctn

    if not np.isfinite(table).all():
        return np.full(tuple(sides), np.nan, np.float32)
    values = table.reshape(*sides, -1).astype(np.float64)
    axes = tuple(range(len(sides)))
    waves = dctn(values - values.mean(axis=axes), axes=axes, norm="ortho")
    energy = np.einsum("...c,...c->...", waves, waves)
    whole = float(energy.sum())
    shares: np.ndarray = energy / whole if whole > 0 else np.full(energy.shape, np.nan)
    return shares.astype(np.float32)
