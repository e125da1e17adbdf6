"""Attention with a learned table of biases, one a head and offset."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from pe_inspect.arrays import Float
from pe_inspect.errors import UsageError
from pe_inspect.models.attention import BiasedAttention, Grid
from pe_inspect.models.config import ViTConfig

__all__ = ["TableBiasAttention"]


class TableBiasAttention(BiasedAttention):
    """A bias that is looked up by offset, query − key.

    Args:
        config: as for `BiasedAttention`.
    """

    def __init__(self, config: ViTConfig) -> None:
        super().__init__(config)
        table = torch.zeros(self.num_offsets(config.grid_size), config.num_heads)
        self.relative_position_bias_table = nn.Parameter(table)
        self.register_buffer("own_index", self.index(config.grid_size), persistent=False)

    def num_offsets(self, grid_size: Grid) -> int:
        """Return the rows of a grid's table."""
        raise NotImplementedError(f"{type(self).__name__} defines no offsets")

    def index(self, grid_size: Grid) -> torch.Tensor:
        """Return which row each (query, key) takes, (patches, patches)."""
        raise NotImplementedError(f"{type(self).__name__} defines no index")

    def resized(self, table: torch.Tensor, grid_size: Grid) -> torch.Tensor:
        """Return the table of another grid, (offsets, heads)."""
        raise NotImplementedError(f"{type(self).__name__} defines no rule of resolution")

    def bias(self, grid_size: Grid) -> Float[torch.Tensor, "heads patches patches"]:
        """Look the bias up, in the table itself or in one that was resized.

        Raises:
            UsageError: another grid, and LaPE's norm has one feature a patch of this one.
        """
        table: torch.Tensor = self.relative_position_bias_table
        index: Any = self.own_index
        if grid_size != self.grid_size:
            self._refuse_norm(grid_size)
            table, index = self.resized(table, grid_size), self.index(grid_size).to(index)
        return table[index].permute(2, 0, 1)

    def _refuse_norm(self, grid_size: Grid) -> None:
        if self.pe_norm is None:
            return
        own, other = ("×".join(map(str, grid)) for grid in (self.grid_size, grid_size))
        raise UsageError(
            f"the norm over this bias has one feature a patch of the {own} grid, and no rule "
            f"resamples it to {other}. Use images of the model's own size, or join=layer."
        )
