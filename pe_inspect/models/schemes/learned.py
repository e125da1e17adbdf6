"""A learned table, one row a token. Source: arXiv:2010.11929, Eq. 1."""

from __future__ import annotations

from typing import Any

import torch
from timm.layers.pos_embed import resample_abs_pos_embed

from pe_inspect.models.attention import Grid
from pe_inspect.models.scheme import Scheme
from pe_inspect.models.schemes import schemes

__all__ = ["Learned"]


@schemes.register("learned")
class Learned(Scheme):
    """At another resolution the table is resampled as timm does: bicubic, antialiased."""

    def table(self) -> torch.Tensor:
        """Return zeros, one row for each prefix token that the table covers and each patch."""
        rows = self.config.num_prefix_rows + self.config.num_patches
        return torch.zeros(1, rows, self.config.embed_dim)

    def table_at(self, table: Any, grid_size: Grid) -> torch.Tensor:
        """Return the table itself, or resampled to another grid; prefix rows stay as they are."""
        if grid_size == self.config.grid_size:
            own: torch.Tensor = table
            return own
        resampled: torch.Tensor = resample_abs_pos_embed(
            table,
            list(grid_size),
            list(self.config.grid_size),
            num_prefix_tokens=self.config.num_prefix_rows,
        )
        return resampled
