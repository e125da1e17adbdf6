"""What a scheme puts into the slots that a Vision Transformer has for positions.

There are four: a table at the input, rotations that attentions share, the attention of a block,
and a convolution between two blocks. A scheme fills what it needs.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import nn

from pe_inspect.models.attention import Attention, Grid
from pe_inspect.models.config import ViTConfig

__all__ = ["Scheme"]


class Scheme:
    """A scheme that fills no slot; the others override what theirs fills.

    Args:
        config: the model that it is for.
    """

    is_learned: ClassVar[bool] = True

    def __init__(self, config: ViTConfig) -> None:
        self.config = config

    def table(self) -> torch.Tensor | nn.Module | None:
        """Return what the model keeps as `pos_embed`: (1, rows, dim), or a module.

        A learned table comes as zeros, and the model draws its values.
        """
        return None

    def table_at(self, table: Any, grid_size: Grid) -> torch.Tensor:
        """Return (1, rows, dim) for a grid, by the scheme's own rule of resolution.

        Args:
            table: what `table` returned, as training has changed it since.
            grid_size: (H, W).
        """
        raise NotImplementedError(f"{type(self).__name__} has no table")

    def rotations(self) -> nn.Module | None:
        """Return `rope`: from a grid to the sines and cosines of all blocks or of each."""
        return None

    def attention(self) -> nn.Module:
        """Return the attention of one block."""
        return Attention(self.config)

    def convolution(self) -> nn.Module | None:
        """Return `pos_block.0`: from patches (batch, H·W, dim) and a grid to new ones."""
        return None
