"""Fixed tables of sines and cosines: stored, so that a file shows them, and never trained."""

from __future__ import annotations

from typing import Any, ClassVar, Final

import torch

from pe_inspect.models.attention import Grid
from pe_inspect.models.scheme import Scheme

__all__ = ["FixedTable", "sines_and_cosines"]

_TEMPERATURE: Final = 10_000.0


class FixedTable(Scheme):
    """A table that a definition gives for every grid; at another resolution it is recomputed."""

    is_learned: ClassVar[bool] = False

    def defined(self, grid_size: Grid) -> torch.Tensor:
        """Return the table of a grid, (rows, dim)."""
        raise NotImplementedError(f"{type(self).__name__} defines no table")

    def table(self) -> torch.Tensor:
        """Return the table of the model's own grid."""
        return self.defined(self.config.grid_size)[None]

    def table_at(self, table: Any, grid_size: Grid) -> torch.Tensor:
        """Return the stored table, or the defined one of another grid."""
        if grid_size == self.config.grid_size:
            own: torch.Tensor = table
            return own
        return self.defined(grid_size)[None].to(table)


def sines_and_cosines(positions: torch.Tensor, channels: int) -> torch.Tensor:
    """Return sin and cos of each frequency in turn, (positions, channels).

    Frequency k is 10000^(−2k/channels). Source: arXiv:1706.03762, section 3.5.
    """
    exponents = torch.arange(0, channels, 2, dtype=torch.float64) / channels
    angles = positions.double().reshape(-1, 1) * _TEMPERATURE**-exponents
    return torch.stack((angles.sin(), angles.cos()), dim=-1).flatten(1).float()
