"""Rotations by learned frequencies, mixing x and y, for each block and head: RoPE-Mixed.

Source: arXiv:2403.13298 (RoPE-ViT), section 3.2.
"""

from __future__ import annotations

import torch
from timm.layers.pos_embed_sincos import RotaryEmbeddingMixed
from torch import nn

from pe_inspect.models.attention import Grid, RotaryAttention
from pe_inspect.models.config import ViTConfig
from pe_inspect.models.scheme import Scheme
from pe_inspect.models.schemes import schemes

__all__ = ["MixedRotation", "RopeMixed"]


class MixedRotation(RotaryEmbeddingMixed):
    """timm's learned frequencies, `freqs` (2, depth, heads, head_dim / 2), x first."""

    def __init__(self, config: ViTConfig) -> None:
        super().__init__(
            config.embed_dim,
            config.depth,
            config.num_heads,
            temperature=config.rope_base,
            feat_shape=list(config.grid_size),
        )
        self.grid_size = config.grid_size

    def forward(  # type: ignore[override]  # timm's turns one feature map
        self, grid_size: Grid
    ) -> torch.Tensor:
        """Return sines, then cosines, (depth, heads, H·W, 2·head_dim)."""
        shape = None if grid_size == self.grid_size else list(grid_size)
        embed: torch.Tensor = self.get_embed(shape)
        return embed


@schemes.register("rope_mixed")
class RopeMixed(Scheme):
    """A rotation for each block and head; at another resolution the frequencies stay."""

    def rotations(self) -> nn.Module:
        """Return the learned frequencies."""
        return MixedRotation(self.config)

    def attention(self) -> nn.Module:
        """Return an attention that turns q and k."""
        return RotaryAttention(self.config)
