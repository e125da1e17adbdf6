"""What a table of vectors shows by place: lengths of its rows, and waves over the grid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pe_inspect.arrays import Float, Float32

__all__ = ["TableByPlace", "row_norms", "table_by_place", "wave_energy"]


@dataclass(frozen=True, eq=False)
class TableByPlace:
    """What is kept of a layer's table: 24 tables of 64×64 patches would be 400 MB.

    Attributes:
        channels: how wide its vectors are.
        num_broken: how many of them are not finite.
        norms: see `row_norms`.
        waves: see `wave_energy`.
    """

    channels: int
    num_broken: int
    norms: Float32[np.ndarray, "..."]
    waves: Float32[np.ndarray, "..."]


def table_by_place(
    table: Float32[np.ndarray, "patches channels"], sides: Sequence[int]
) -> TableByPlace:
    """Return the lengths and the waves of a table.

    Args:
        table: without prefix rows.
        sides: of the grid.
    """
    broken = int(np.count_nonzero(~np.isfinite(table).all(axis=1)))
    return TableByPlace(table.shape[1], broken, row_norms(table, sides), wave_energy(table, sides))


def row_norms(
    table: Float32[np.ndarray, "patches channels"], sides: Sequence[int]
) -> Float32[np.ndarray, "..."]:
    """Return the Euclidean length of every patch's vector, by place."""
    lengths = np.linalg.norm(table.astype(np.float64), axis=1)
    lengths[~np.isfinite(lengths)] = np.nan
    by_place: np.ndarray = lengths.reshape(tuple(sides)).astype(np.float32)
    return by_place


def wave_energy(
    table: Float32[np.ndarray, "patches channels"], sides: Sequence[int]
) -> Float32[np.ndarray, "..."]:
    """Return the share of the centred table's energy in each coefficient of its cosine transform.

    Entry (i, j) is for i half waves over the rows and j over the columns, summed over channels
    (type-II transform, orthonormal); the shares sum to 1. NaN where a row is not finite or all
    rows are equal.
    """
    if not np.isfinite(table).all():
        return np.full(tuple(sides), np.nan, np.float32)
    values = table.reshape(*sides, -1).astype(np.float64)
    axes = tuple(range(len(sides)))
    waves = values - values.mean(axis=axes)
    for axis, side in enumerate(sides):
        waves = np.moveaxis(np.tensordot(_cosines(side), waves, axes=(1, axis)), 0, axis)
    energy = np.einsum("...c,...c->...", waves, waves)
    whole = float(energy.sum())
    shares: np.ndarray = energy / whole if whole > 0 else np.full(energy.shape, np.nan)
    return shares.astype(np.float32)


def _cosines(side: int) -> Float[np.ndarray, "waves places"]:
    """The orthonormal cosine transform of one axis, type II."""
    places, waves = np.arange(side) + 0.5, np.arange(side)[:, None]
    matrix: np.ndarray = np.cos(np.pi * waves * places / side) * np.sqrt(2 / side)
    matrix[0] /= np.sqrt(2)
    return matrix
