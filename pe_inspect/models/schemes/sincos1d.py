"""Sines and cosines of the token's number, prefix tokens counted: LaPE's `1D_sin`."""

from __future__ import annotations

import torch

from pe_inspect.models.attention import Grid
from pe_inspect.models.fixed_table import FixedTable, sines_and_cosines
from pe_inspect.models.schemes import schemes

__all__ = ["SinCos1d"]


@schemes.register("sincos1d")
class SinCos1d(FixedTable):
    """Positions count from 0 at the first row. Source: arXiv:1706.03762; LaPE, Table 7."""

    def defined(self, grid_size: Grid) -> torch.Tensor:
        """Return the table, row by row of the grid."""
        rows = self.config.num_prefix_rows + grid_size[0] * grid_size[1]
        return sines_and_cosines(torch.arange(rows), self.config.embed_dim)
