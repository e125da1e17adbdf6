"""A bias that a small network computes from log-spaced offsets: Swin v2's CPB."""

from __future__ import annotations

import math
from typing import Any, Final

import torch
from timm.layers.mlp import Mlp
from torch import nn

from pe_inspect.arrays import Float
from pe_inspect.models.attention import BiasedAttention, Grid
from pe_inspect.models.config import CPB_HIDDEN, ViTConfig
from pe_inspect.models.offsets import offset_index
from pe_inspect.models.scheme import Scheme
from pe_inspect.models.schemes import schemes

__all__ = ["RelBiasMlp"]

_SPAN: Final = 8.0  # offsets are spread over −8 … 8 before the logarithm
_GAIN: Final = 16.0


class OffsetMLP(nn.Module):
    """From offsets in patches to a bias a head; timm's names, `mlp.fc1` and `mlp.fc2`."""

    def __init__(self, config: ViTConfig) -> None:
        super().__init__()
        self.trained_on = config.grid_size
        self.mlp = Mlp(
            2, CPB_HIDDEN, config.num_heads, act_layer=nn.ReLU, bias=(True, False)
        )  # the last layer has no bias: the sigmoid bounds it
        self.register_buffer("coordinates", self._coordinates(self.trained_on), persistent=False)

    def forward(self, grid_size: Grid) -> torch.Tensor:
        """Return (offsets, heads); another grid's offsets keep the scale of training."""
        coordinates: Any = self.coordinates
        if grid_size != self.trained_on:
            coordinates = self._coordinates(grid_size).to(coordinates)
        bias: torch.Tensor = _GAIN * torch.sigmoid(self.mlp(coordinates))
        return bias

    def _coordinates(self, grid_size: Grid) -> torch.Tensor:
        """Return sign(c)·log2(1 + |c|)/log2(8), c = 8·Δ/(side − 1). Source: arXiv:2111.09883."""
        axes = [torch.arange(1.0 - side, side) for side in grid_size]
        scale = torch.tensor([_SPAN / max(side - 1, 1) for side in self.trained_on])
        spread = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1) * scale
        spaced = spread.sign() * torch.log2(1 + spread.abs()) / math.log2(_SPAN)
        return spaced.flatten(end_dim=1)


class NetworkBiasAttention(BiasedAttention):
    """Attention with a network of its own, `rel_pos`."""

    def __init__(self, config: ViTConfig) -> None:
        super().__init__(config)
        self.rel_pos = OffsetMLP(config)
        self.register_buffer("own_index", offset_index(config.grid_size), persistent=False)

    def bias(self, grid_size: Grid) -> Float[torch.Tensor, "heads patches patches"]:
        """Evaluate every offset once, and look the pairs up."""
        index: Any = self.own_index
        if grid_size != self.grid_size:
            index = offset_index(grid_size).to(index)
        bias: torch.Tensor = self.rel_pos(grid_size)[index].permute(2, 0, 1)
        return bias


@schemes.register("rel_bias_mlp")
class RelBiasMlp(Scheme):
    """Source: arXiv:2111.09883 (Swin v2), section 3.3, over the whole grid."""

    def attention(self) -> nn.Module:
        """Return an attention with a network of its own."""
        return NetworkBiasAttention(self.config)
