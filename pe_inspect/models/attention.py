"""Attention under timm's key names, with the places where positions can enter it.

Every one is called with tokens, the grid of their patches, and the rotation of its block.
"""

from __future__ import annotations

from typing import Any

import torch
from timm.layers.attention import Attention as TimmAttention
from timm.layers.attention import AttentionRope
from torch import nn
from torch.nn import functional

from pe_inspect.arrays import Float
from pe_inspect.kinds.joins import JOINS
from pe_inspect.models.config import ViTConfig

__all__ = ["Attention", "BiasedAttention", "Grid", "RotaryAttention"]

Grid = tuple[int, int]


class Attention(TimmAttention):
    """timm's attention, which knows of no positions.

    Args:
        config: width, heads and dropout.
    """

    def __init__(self, config: ViTConfig) -> None:
        super().__init__(**_as_timm_says(config))
        self.num_prefix_tokens = config.num_prefix_tokens
        self.grid_size = config.grid_size

    def forward(  # type: ignore[override]  # timm's second argument is a mask
        self,
        x: Float[torch.Tensor, "batch tokens dim"],
        grid_size: Grid | None = None,  # noqa: ARG002
        rotation: torch.Tensor | None = None,  # noqa: ARG002
    ) -> Float[torch.Tensor, "batch tokens dim"]:
        """Attend over all tokens."""
        out: torch.Tensor = super().forward(x)
        return out


class BiasedAttention(Attention):
    """Attention with a bias for every pair of patches; prefix tokens have none.

    Args:
        config: as for `Attention`; under `join="lape"` the bias has a norm over its keys. Its ε is
            PyTorch's, as in LaPE. Source: arXiv:2212.05262, Table 7.
    """

    def __init__(self, config: ViTConfig) -> None:
        super().__init__(config)
        self.pe_norm = nn.LayerNorm(config.num_patches) if JOINS[config.join].is_recurrent else None

    def bias(self, grid_size: Grid) -> Float[torch.Tensor, "heads patches patches"]:
        """Return the bias of every (query, key)."""
        raise NotImplementedError(f"{type(self).__name__} defines no bias")

    def joined_bias(self, grid_size: Grid) -> Float[torch.Tensor, "heads tokens tokens"]:
        """Return what the logits receive: normalised under LaPE, and zero for prefix tokens."""
        bias, prefix = self.bias(grid_size), self.num_prefix_tokens
        if self.pe_norm is not None:
            bias = self.pe_norm(bias)
        return functional.pad(bias, (prefix, 0, prefix, 0))

    def forward(  # type: ignore[override]
        self,
        x: Float[torch.Tensor, "batch tokens dim"],
        grid_size: Grid | None = None,
        rotation: torch.Tensor | None = None,  # noqa: ARG002
    ) -> Float[torch.Tensor, "batch tokens dim"]:
        """Attend with the bias of the grid, the model's own unless given."""
        mask = self.joined_bias(grid_size or self.grid_size)[None]
        if torch.is_autocast_enabled(x.device.type):
            mask = mask.to(torch.get_autocast_dtype(x.device.type))
        out: torch.Tensor = TimmAttention.forward(self, x, mask)
        return out


class RotaryAttention(AttentionRope):
    """timm's attention that turns the queries and keys of patches, in neighbouring pairs.

    Args:
        config: width, heads and dropout.
    """

    def __init__(self, config: ViTConfig) -> None:
        super().__init__(**_as_timm_says(config), num_prefix_tokens=config.num_prefix_tokens)

    def forward(  # type: ignore[override]
        self,
        x: Float[torch.Tensor, "batch tokens dim"],
        grid_size: Grid | None = None,  # noqa: ARG002
        rotation: Float[torch.Tensor, "*heads patches twice_head_dim"] | None = None,
    ) -> Float[torch.Tensor, "batch tokens dim"]:
        """Attend with q and k turned by `rotation`: all sines, then all cosines."""
        out: torch.Tensor = super().forward(x, rope=rotation)
        return out


def _as_timm_says(config: ViTConfig) -> dict[str, Any]:
    return {
        "dim": config.embed_dim,
        "num_heads": config.num_heads,
        "qkv_bias": True,
        "attn_drop": config.attn_drop_rate,
        "proj_drop": config.proj_drop_rate,
    }
