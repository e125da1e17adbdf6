"""A table of vectors in numbers: what rows and columns explain, how many directions it takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from pe_inspect.arrays import Float, Float32

__all__ = ["TableIndices", "main_effects", "principal_components", "table_indices"]

NAN = float("nan")
FEWEST = 2
WIDE = 512  # channels and patches
ROUNDING = 4 * float(np.finfo(np.float32).eps)


@dataclass(frozen=True, eq=False)
class TableIndices:
    """One table of vectors in numbers; NaN where one is not defined.

    Attributes:
        shares: per axis, what the mean over all other axes explains of the centred table.
        interaction: what is left: no sum of functions of one axis each.
        effective_rank: exp of the entropy of the principal components' shares of the variance.
        spectrum: these shares, descending; as many as channels or patches.
        maps: the first components' coordinates, a map each, of unit length times its deviation.
    """

    shares: tuple[float, ...]
    interaction: float
    effective_rank: float
    spectrum: Float[np.ndarray, " components"]
    maps: Float32[np.ndarray, " maps *sides"]


def table_indices(
    table: Float32[np.ndarray, "patches channels"], sides: Sequence[int], num_maps: int = 0
) -> TableIndices:
    """Return the indices of a table of one vector a patch.

    Args:
        table: without prefix rows.
        sides: of the grid.
        num_maps: principal components whose maps are wanted.
    """
    spectrum, maps = principal_components(table, num_maps)
    effects = main_effects(table, sides)
    return TableIndices(
        effects,
        _left_of_one(effects),
        _effective_rank(spectrum),
        spectrum,
        maps.reshape(-1, *sides),
    )


def main_effects(
    table: Float32[np.ndarray, "patches channels"], sides: Sequence[int]
) -> tuple[float, ...]:
    """Return per axis the share of the centred table's sum of squares that its means explain.

    Additive analysis of variance over all channels; what the shares leave of 1 is interaction.
    NaN where the table is constant, a row is not finite, or some other axis has one place only,
    so that the shares could not be otherwise.
    """
    axes = range(len(sides))
    if min(sides) == 1 or not np.isfinite(table).all():
        return (NAN,) * len(sides)
    values = table.reshape(*sides, -1).astype(np.float64)
    centre = values.mean(axis=tuple(axes))
    whole = float(np.sum((values - centre) ** 2))
    if not _varies(whole, values):
        return (NAN,) * len(sides)
    means = [values.mean(axis=tuple(k for k in axes if k != axis)) for axis in axes]
    patches = prod(sides)
    return tuple(
        float(np.sum((mean - centre) ** 2)) * (patches / side) / whole
        for mean, side in zip(means, sides)
    )


def principal_components(
    table: Float32[np.ndarray, "patches channels"], num_maps: int = 0
) -> tuple[Float[np.ndarray, " components"], Float32[np.ndarray, "maps patches"]]:
    """Return the shares of the variance of all principal components, and the first ones' maps.

    Rows that are not finite are left out, and NaN in the maps. The sign of a component is that
    which makes the largest of its coordinates positive. Both are empty for a constant table.
    """
    finite = np.isfinite(table).all(axis=1)
    exact = min(table.shape) <= WIDE  # else shares to six digits, in half the time
    rows = table[finite].astype(np.float64 if exact else np.float32)
    if len(rows) < 2:
        return np.zeros(0), np.zeros((0, len(table)), np.float32)
    whole = float(np.sum(rows**2, dtype=np.float64))
    rows -= rows.mean(axis=0, dtype=np.float64).astype(rows.dtype)
    variance = float(np.sum(rows**2, dtype=np.float64))
    if not variance > ROUNDING**2 * whole:
        return np.zeros(0), np.zeros((0, len(table)), np.float32)
    rows *= rows.dtype.type(1 / np.sqrt(variance))
    return _decomposed(rows, finite, num_maps)


def _decomposed(
    rows: Float[np.ndarray, "patches channels"], finite: np.ndarray, num_maps: int
) -> tuple[np.ndarray, np.ndarray]:
    by_channel = rows.shape[1] <= rows.shape[0]
    gram = rows.T @ rows if by_channel else rows @ rows.T
    values, vectors = np.linalg.eigh(gram)
    spectrum = np.maximum(values[::-1], 0).astype(np.float64)
    count = min(num_maps, len(gram))
    maps = np.full((count, len(finite)), np.nan, np.float32)
    if count:
        found = vectors[:, ::-1][:, :count]
        along = rows @ found if by_channel else found * np.sqrt(spectrum[:count])
        maps[:, finite] = (along * _signs(along)).T
    return spectrum / spectrum.sum(), maps


def _signs(along: Float[np.ndarray, "patches components"]) -> Float[np.ndarray, " components"]:
    largest = np.abs(along).argmax(axis=0)
    return np.where(along[largest, np.arange(along.shape[1])] < 0, -1.0, 1.0)


def _effective_rank(spectrum: Float[np.ndarray, " components"]) -> float:
    found = spectrum[spectrum > 0]
    if len(spectrum) < FEWEST:  # one direction is all that there could be
        return NAN
    return float(np.exp(-np.sum(found * np.log(found))))


def _left_of_one(shares: Sequence[float]) -> float:
    left = 1 - sum(shares)
    return max(left, 0.0) if left == left else left


def _varies(whole: float, values: np.ndarray) -> bool:
    """Whether a sum of squares about the mean is more than rounding."""
    return whole > ROUNDING**2 * float(np.sum(values**2))
