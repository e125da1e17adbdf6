"""Rules that resize a table to a square as large as the longer side, and cut what is needed.

So an oblong image sees the positions at the scale of its longer side, in both directions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from pe_inspect.resampling.apply import apply
from pe_inspect.resampling.methods.torch_modes import (
    bicubic_aa,
    bilinear,
    bilinear_align_corners,
)
from pe_inspect.resampling.resampler import Matrices, Separable, Size, Table

__all__ = ["SquareCropped", "square_bilinear", "square_cropped", "square_cropped_corners"]


@dataclass(frozen=True)
class SquareCropped:
    """A separable method for a square target, of which the first rows and columns are kept."""

    name: str
    square: Separable

    def __call__(self, table: Table, size: Size) -> Table:
        """Resample; the same size returns the table as it is."""
        if table.shape[:2] == size:
            return table
        source, exact = (table.shape[0], table.shape[1]), table.dtype == np.float64
        return apply(table, *self.matrices(source, size, exact=exact))

    def check(self, table: Table, size: Size) -> None:
        """Refuse nothing."""
        self.square.check(table, size)

    def matrices(self, source: Size, size: Size, *, exact: bool = True) -> Matrices:
        """W_h and W_w of the square, cut."""
        side = max(size)
        kind = np.float64 if exact else np.float32
        down, across = (
            self.square.axis(old, side, exact)[:new].astype(kind) for old, new in zip(source, size)
        )
        return down, across


square_cropped: Final = SquareCropped("square-bicubic-aa", bicubic_aa)
square_cropped_corners: Final = SquareCropped(
    "square-bilinear-align-corners", bilinear_align_corners
)
square_bilinear: Final = SquareCropped("square-bilinear", bilinear)
