"""Rotary schemes: how fast the angles turn along each axis, and what becomes of it elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from pe_inspect.analysis.structure.indices import sides_of
from pe_inspect.arrays import Float
from pe_inspect.kinds.parts import LayerPE
from pe_inspect.kinds.position_embedding import PositionEmbedding

__all__ = ["LayerRotation", "rotations_of"]

LINEAR: Final = 1e-3  # radians a patch, relative to the fastest: how even the steps are
STILL: Final = 1e-9  # radians a patch: what does not turn has no direction


@dataclass(frozen=True, eq=False)
class LayerRotation:
    """The rotation of one layer.

    Attributes:
        layer: its name.
        sides: of the grid: (H, W), or (H, T, W).
        frequencies: radians a patch, by head (1 where all share them), angle and axis; NaN on an
            axis of one patch, and where the angles are no linear function of the place.
    """

    layer: str
    sides: tuple[int, ...]
    frequencies: Float[np.ndarray, "heads angles axes"]

    @property
    def is_linear(self) -> bool:
        """Whether the angles are a linear function of the place, on some axis."""
        return bool(np.isfinite(self.frequencies).any())

    @property
    def cycles(self) -> Float[np.ndarray, "heads angles axes"]:
        """Turns over the whole image, along each axis."""
        turns: np.ndarray = np.abs(self.frequencies) * np.array(self.sides) / (2 * np.pi)
        return turns

    @property
    def is_aliased(self) -> np.ndarray:
        """Which angles turn by more than π from patch to patch, on some axis: (heads, angles)."""
        found: np.ndarray = (np.abs(self.frequencies) > np.pi).any(axis=-1)
        return found

    @property
    def anisotropy(self) -> Float[np.ndarray, " heads"]:
        """Per head, the length of the mean of doubled angles of the directions (rows, columns).

        0: directions even out, or lie on both axes alike. 1: all are along one line. What does
        not turn has no direction.
        """
        y, x = self.frequencies[..., 0], self.frequencies[..., -1]
        turns = np.hypot(y, x) > STILL
        doubled = np.where(turns, np.exp(2j * np.arctan2(y, x)), 0)
        counts = turns.sum(axis=1)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(counts > 0, np.abs(doubled.sum(axis=1)) / counts, np.nan)


def rotations_of(pe: PositionEmbedding) -> tuple[LayerRotation, ...]:
    """Return the rotation of every layer; none of a scheme that does not rotate."""
    if not pe.scheme_kind.holds_angles:
        return ()
    return tuple(_rotation(table) for table in pe.tables)


def _rotation(table: LayerPE) -> LayerRotation:
    sides = sides_of(table.grid_size, table.num_frames)
    heads, _, angles = table.values.shape
    phases = table.values.reshape(heads, *sides, angles).astype(np.float64)
    frequencies = np.stack(list(_by_axis(phases, sides)), axis=-1)
    return LayerRotation(table.name, sides, frequencies)


def _by_axis(
    phases: Float[np.ndarray, "heads ..."], sides: Sequence[int]
) -> Iterator[Float[np.ndarray, "heads angles"]]:
    """Yield the mean step along each axis; NaN where the steps of an angle are uneven."""
    largest = max(
        (float(np.abs(np.diff(phases, axis=axis + 1)).max()) for axis, side in enumerate(sides)
         if side > 1),
        default=0.0,
    )  # fmt: skip
    for axis, side in enumerate(sides):
        if side == 1:
            yield np.full((phases.shape[0], phases.shape[-1]), np.nan)
            continue
        steps = np.diff(phases, axis=axis + 1)
        places = tuple(range(1, 1 + len(sides)))
        uneven = np.ptp(steps, axis=places) > LINEAR * largest
        yield np.where(uneven, np.nan, steps.mean(axis=places))
