"""Fixed sines and cosines of the place in the image, projected by a learned 1×1 convolution."""

from __future__ import annotations

import math
from typing import Any, Final

import torch
from torch import nn
from torch.nn import functional

from pe_inspect.models.attention import Grid
from pe_inspect.models.config import FOURIER_FEATURES, ViTConfig
from pe_inspect.models.scheme import Scheme
from pe_inspect.models.schemes import schemes

__all__ = ["Fourier", "FourierProjection"]

_TEMPERATURE: Final = 10_000.0


class FourierProjection(nn.Module):
    """Positions 1 … side, divided by the side, so that the embedding exists for any grid.

    Source: arXiv:2106.09681 (XCiT).
    """

    def __init__(self, config: ViTConfig) -> None:
        super().__init__()
        self.grid_size = config.grid_size
        self.token_projection = nn.Conv2d(2 * FOURIER_FEATURES, config.embed_dim, 1)
        self.register_buffer("features", _features(config.grid_size), persistent=False)

    def forward(self, grid_size: Grid) -> torch.Tensor:
        """Return (1, H·W, dim)."""
        features: Any = self.features
        if grid_size != self.grid_size:
            features = _features(grid_size).to(features)
        projected: torch.Tensor = self.token_projection(features)
        return projected.flatten(2).transpose(1, 2)


def _features(grid_size: Grid) -> torch.Tensor:
    """Return (1, features of y then x, H, W)."""
    k = torch.arange(FOURIER_FEATURES, dtype=torch.float64)
    periods = _TEMPERATURE ** (2 * (k // 2) / FOURIER_FEATURES)
    axes = torch.meshgrid(*(torch.arange(1.0, side + 1) for side in grid_size), indexing="ij")
    waves = []
    for side, places in zip(grid_size, axes):
        turns = (2 * math.pi * places.double() / (side + 1e-6))[..., None] / periods
        waves.append(torch.where(k % 2 == 0, turns.sin(), turns.cos()))
    return torch.cat(waves, dim=-1).permute(2, 0, 1)[None].float()


@schemes.register("fourier")
class Fourier(Scheme):
    """Added once to the patches; prefix tokens get nothing."""

    def table(self) -> nn.Module:
        """Return `pos_embed.token_projection` and what it projects."""
        return FourierProjection(self.config)

    def table_at(self, table: Any, grid_size: Grid) -> torch.Tensor:
        """Return the projection for a grid, with rows of zeros where prefix tokens have rows."""
        patches: torch.Tensor = table(grid_size)
        return functional.pad(patches, (0, 0, self.config.num_prefix_rows, 0))
