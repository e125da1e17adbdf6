"""Rotations by fixed angles: half of a head's channels turn with x, half with y.

Sources: arXiv:2104.09864 (RoFormer); arXiv:2403.13298 (RoPE-ViT), section 3.1; s-chh's `rope`.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from pe_inspect.models.attention import Grid, RotaryAttention
from pe_inspect.models.config import ViTConfig
from pe_inspect.models.offsets import rows_and_columns
from pe_inspect.models.scheme import Scheme
from pe_inspect.models.schemes import schemes

__all__ = ["AxialRotation", "RopeAxial"]


class AxialRotation(nn.Module):
    """Cosines and sines of every patch's angles, stored under EVA-02's names.

    Most rotary models store nothing, and their files look like models without positions.
    """

    def __init__(self, config: ViTConfig) -> None:
        super().__init__()
        self.config = config
        angles = self._angles(config.grid_size)
        self.register_buffer("freqs_cos", angles.cos().float())
        self.register_buffer("freqs_sin", angles.sin().float())

    def forward(self, grid_size: Grid) -> torch.Tensor:
        """Return sines, then cosines, (H·W, 2·head_dim); larger grids extrapolate."""
        sines: Any = self.freqs_sin
        cosines: Any = self.freqs_cos
        if grid_size != self.config.grid_size:
            angles = self._angles(grid_size)
            sines, cosines = angles.sin().to(sines), angles.cos().to(cosines)
        return torch.cat((sines, cosines), dim=-1)

    def _angles(self, grid_size: Grid) -> torch.Tensor:
        """Return position · θ^(−i/n) for the n = head_dim/4 pairs of x, then of y; each twice."""
        first = int(self.config.schh_compat)
        pairs = self.config.head_dim // 4
        exponents = torch.arange(first, pairs + first, dtype=torch.float64) / pairs
        y, x = (axis[:, None] + first for axis in rows_and_columns(grid_size))
        angles = [axis * self.config.rope_base**-exponents for axis in (x, y)]
        return torch.cat(angles, dim=1).repeat_interleave(2, dim=1)


@schemes.register("rope_axial")
class RopeAxial(Scheme):
    """One rotation for all blocks and heads."""

    def rotations(self) -> nn.Module:
        """Return the fixed angles."""
        return AxialRotation(self.config)

    def attention(self) -> nn.Module:
        """Return an attention that turns q and k."""
        return RotaryAttention(self.config)
