"""The native Vision Transformer: timm's layers under timm's key names, with the joins of LaPE.

With `join="input"` a state dict goes into timm's `VisionTransformer` and back as it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from typing import cast

import torch
from timm.layers.attention import Attention
from timm.layers.mlp import Mlp
from timm.layers.patch_embed import PatchEmbed
from timm.layers.weight_init import trunc_normal_
from torch import nn

from pe_inspect._typing import Float
from pe_inspect.models.config import ViTConfig

__all__ = ["Block", "VisionTransformer"]


class Block(nn.Module):
    """A pre-norm transformer block; under LaPE it owns the norm that its positions pass through.

    Args:
        config: width, heads, MLP ratio, ε and join.
    """

    def __init__(self, config: ViTConfig) -> None:
        super().__init__()
        width = config.embed_dim
        norm = partial(nn.LayerNorm, width, eps=config.ln_eps)
        self.norm1 = norm()
        self.pe_norm = norm() if config.join == "lape" else None
        self.attn = Attention(width, num_heads=config.num_heads, qkv_bias=True)
        self.norm2 = norm()
        self.mlp = Mlp(width, hidden_features=int(width * config.mlp_ratio))

    def forward(
        self, x: Float[torch.Tensor, "batch tokens dim"], omega: torch.Tensor | None
    ) -> Float[torch.Tensor, "batch tokens dim"]:
        """Attend with positions `omega` (1, tokens, dim) beside the normalised tokens, if given."""
        normed = self.norm1(x)
        x = x + self.attn(normed if omega is None else normed + omega)
        out: torch.Tensor = x + self.mlp(self.norm2(x))
        return out


class VisionTransformer(nn.Module):
    """A ViT with a learned table that enters once (`input`) or before every block (`lape`).

    Args:
        config: the model's shape.

    Source: arXiv:2010.11929, Eq. 1–4; LaPE: ICCV 2023, Eq. 9–11.
    """

    def __init__(self, config: ViTConfig) -> None:
        super().__init__()
        self.config = config
        self.patch_embed = PatchEmbed(
            config.img_size,
            config.patch_size,  # type: ignore[arg-type]  # timm takes a pair, and says int
            config.in_chans,
            config.embed_dim,
        )
        self.cls_token = nn.Parameter(torch.zeros(1, 1, config.embed_dim))
        self.pos_embed = nn.Parameter(torch.zeros(1, config.num_tokens, config.embed_dim))
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.depth))
        self.norm = nn.LayerNorm(config.embed_dim, eps=config.ln_eps)
        self.head = nn.Linear(config.embed_dim, config.num_classes)
        self._initialise()

    def forward(
        self, images: Float[torch.Tensor, "batch channels height width"]
    ) -> Float[torch.Tensor, "batch classes"]:
        """Return the logits of normalised images of `config.img_size`."""
        logits: torch.Tensor = self.head(self.forward_features(images)[:, 0])
        return logits

    def forward_features(
        self, images: Float[torch.Tensor, "batch channels height width"]
    ) -> Float[torch.Tensor, "batch tokens dim"]:
        """Return every token after the last norm, CLS first."""
        x = self._tokens(images)
        for block, omega in zip(self.each_block(), self.joined_positions()):
            x = block(x, omega)
        features: torch.Tensor = self.norm(x)
        return features

    def joined_positions(self) -> Iterator[torch.Tensor | None]:
        """Yield ω_l = LN_{ω|l}(ω_{l−1}) a block, starting from the table; `None` under `input`."""
        omega: torch.Tensor = self.pos_embed
        for block in self.each_block():
            if block.pe_norm is None:
                yield None
            else:
                omega = block.pe_norm(omega)
                yield omega

    def each_block(self) -> Iterator[Block]:
        """Yield the blocks in order, by their own type."""
        return iter(cast("Iterable[Block]", self.blocks))

    def _tokens(self, images: torch.Tensor) -> torch.Tensor:
        patches = self.patch_embed(images)  # (batch, H·W, dim)
        cls_token = self.cls_token.expand(len(images), -1, -1)
        x = torch.cat((cls_token, patches), dim=1)
        return x + self.pos_embed if self.config.join == "input" else x

    def _initialise(self) -> None:
        """Start as ViT does: normal weights of σ 0.02, truncated; biases at zero."""
        for module in self.modules():
            if isinstance(module, (nn.Linear, nn.Conv2d)):
                trunc_normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        trunc_normal_(self.pos_embed, std=0.02)
        trunc_normal_(self.cls_token, std=0.02)
