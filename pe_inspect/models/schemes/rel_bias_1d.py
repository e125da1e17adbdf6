"""A bias by offset along the row-major sequence of patches: 2·H·W − 1 rows."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from pe_inspect.models.attention import Grid
from pe_inspect.models.scheme import Scheme
from pe_inspect.models.schemes import schemes
from pe_inspect.models.table_bias import TableBiasAttention

__all__ = ["RelBias1d"]


class SequenceBiasAttention(TableBiasAttention):
    """Offsets are differences of patch numbers; another grid's table is interpolated linearly."""

    def num_offsets(self, grid_size: Grid) -> int:
        """Return 2·H·W − 1."""
        return 2 * grid_size[0] * grid_size[1] - 1

    def index(self, grid_size: Grid) -> torch.Tensor:
        """Return query − key, counted from the least."""
        number = torch.arange(grid_size[0] * grid_size[1])
        return number[:, None] - number[None, :] + len(number) - 1

    def resized(self, table: torch.Tensor, grid_size: Grid) -> torch.Tensor:
        """Interpolate along the offsets."""
        rows = self.num_offsets(grid_size)
        return functional.interpolate(table.T[None], size=rows, mode="linear")[0].T


@schemes.register("rel_bias_1d")
class RelBias1d(Scheme):
    """Source: arXiv:1910.10683 (T5), without its buckets."""

    def attention(self) -> nn.Module:
        """Return an attention with a table of its own."""
        return SequenceBiasAttention(self.config)
