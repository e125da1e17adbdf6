"""Sines and cosines of column and row: s-chh's `sinusoidal`, LaPE's `2D_sin`."""

from __future__ import annotations

import torch
from torch.nn import functional

from pe_inspect.models.attention import Grid
from pe_inspect.models.fixed_table import FixedTable, sines_and_cosines
from pe_inspect.models.offsets import rows_and_columns
from pe_inspect.models.schemes import schemes

__all__ = ["SinCos2d"]


@schemes.register("sincos2d")
class SinCos2d(FixedTable):
    """The first half of the channels is for x, the second for y; prefix rows are zero."""

    def defined(self, grid_size: Grid) -> torch.Tensor:
        """Return the table of a grid."""
        y, x = rows_and_columns(grid_size)
        half = self.config.embed_dim // 2
        patches = torch.cat([sines_and_cosines(axis, half) for axis in (x, y)], dim=1)
        return functional.pad(patches, (0, 0, self.config.num_prefix_rows, 0))
