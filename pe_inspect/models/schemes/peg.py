"""Position from the border of a zero-padded depthwise convolution: CPVT's PEG."""

from __future__ import annotations

import torch
from torch import nn

from pe_inspect.arrays import Float
from pe_inspect.models.attention import Grid
from pe_inspect.models.config import ViTConfig
from pe_inspect.models.scheme import Scheme
from pe_inspect.models.schemes import schemes

__all__ = ["Peg", "PositionGenerator"]


class PositionGenerator(nn.Module):
    """A depthwise convolution over the patches, added to them; timm's name, `proj.0`.

    Source: arXiv:2102.10882 (CPVT), section 3.
    """

    def __init__(self, config: ViTConfig) -> None:
        super().__init__()
        dim, side = config.embed_dim, config.peg_kernel
        self.proj = nn.Sequential(nn.Conv2d(dim, dim, side, padding=side // 2, groups=dim))

    def forward(
        self, patches: Float[torch.Tensor, "batch patches dim"], grid_size: Grid
    ) -> Float[torch.Tensor, "batch patches dim"]:
        """Return the patches with what the convolution says of them added."""
        field = patches.transpose(1, 2).reshape(len(patches), -1, *grid_size)
        added: torch.Tensor = self.proj(field)
        return patches + added.flatten(2).transpose(1, 2)


@schemes.register("peg")
class Peg(Scheme):
    """Runs on any grid; prefix tokens pass it by."""

    def convolution(self) -> nn.Module:
        """Return the convolution."""
        return PositionGenerator(self.config)
