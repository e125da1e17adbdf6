"""Readings of two numbers of rows together, where nothing tells how the file's own rows divide."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from pe_inspect.diagnosis.fitting import MOST_TOLD, Fitting, fitting
from pe_inspect.diagnosis.readings import RowDivision

__all__ = ["ReadingPair", "fitting_pairs"]

ReadingPair: TypeAlias = tuple[RowDivision, RowDivision]
"""How the file's rows divide, and how those that are expected do."""


def fitting_pairs(
    likeliest: Sequence[RowDivision], rows: int, *, keeps_height: bool = False
) -> tuple[ReadingPair, ...]:
    """Return what the two numbers can be together, the squarest grid of the file first.

    Args:
        likeliest: how the file's rows divide, as far as nothing ranks one over another.
        rows: all rows of the table that a model expects.
        keeps_height: whether the height cannot change, as the mel bins of a spectrogram.
    """
    fits = [(have, fitting(have, rows, keeps_height=keeps_height)) for have in likeliest]
    kept = [(have, each) for have, each in fits if each.keeps]
    pairs = [(have, need) for have, each in kept or fits for need in _equal(each)]
    return tuple(sorted(pairs, key=lambda pair: _stretch(pair[0])))[:MOST_TOLD]


def _equal(fits: Fitting) -> tuple[RowDivision, ...]:
    return fits.all[: fits.num_equal]


def _stretch(reading: RowDivision) -> float:
    return max(reading.grid_size) / min(reading.grid_size)
