"""A bias by offset in rows and columns: (2H − 1)·(2W − 1) rows, as in Swin and LaPE's `2D_RPE`."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from pe_inspect.models.attention import Grid
from pe_inspect.models.offsets import offset_index
from pe_inspect.models.scheme import Scheme
from pe_inspect.models.schemes import schemes
from pe_inspect.models.table_bias import TableBiasAttention

__all__ = ["RelBias2d"]


class GridBiasAttention(TableBiasAttention):
    """Another grid's table is interpolated as Swin's is: bicubic, half-pixel centres."""

    def num_offsets(self, grid_size: Grid) -> int:
        """Return (2H − 1)·(2W − 1)."""
        return (2 * grid_size[0] - 1) * (2 * grid_size[1] - 1)

    def index(self, grid_size: Grid) -> torch.Tensor:
        """Return the row of each pair's offset."""
        return offset_index(grid_size)

    def resized(self, table: torch.Tensor, grid_size: Grid) -> torch.Tensor:
        """Interpolate the field of offsets. Source: Swin's own loader of checkpoints."""
        (height, width), (new_height, new_width) = self.grid_size, grid_size
        field = table.T.reshape(1, -1, 2 * height - 1, 2 * width - 1)
        size = (2 * new_height - 1, 2 * new_width - 1)
        return functional.interpolate(field, size=size, mode="bicubic")[0].flatten(1).T


@schemes.register("rel_bias_2d")
class RelBias2d(Scheme):
    """Source: arXiv:2103.14030, section 3.2, over the whole grid."""

    def attention(self) -> nn.Module:
        """Return an attention with a table of its own."""
        return GridBiasAttention(self.config)
