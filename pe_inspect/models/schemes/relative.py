"""Vectors for clipped offsets, per axis, that queries meet and values carry: s-chh's `relative`.

Source: arXiv:1803.02155, Eq. 3–4, divided over two axes: the first half of a head's channels is
for x, the second for y. Row 0 of each table is for every pair with a prefix token.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional

from pe_inspect.arrays import Float
from pe_inspect.models.attention import Attention, Grid
from pe_inspect.models.config import ViTConfig
from pe_inspect.models.offsets import rows_and_columns
from pe_inspect.models.scheme import Scheme
from pe_inspect.models.schemes import schemes

__all__ = ["Relative", "RelativeAttention"]


class AxisTables(nn.Module):
    """One table an axis, (2k + 2, channels)."""

    def __init__(self, rows: int, channels: int) -> None:
        super().__init__()
        self.x_relative_embedding_table = nn.Embedding(rows, channels)
        self.y_relative_embedding_table = nn.Embedding(rows, channels)

    @property
    def axes(self) -> tuple[torch.Tensor, torch.Tensor]:
        """The two tables, x first."""
        return self.x_relative_embedding_table.weight, self.y_relative_embedding_table.weight


class RelativeAttention(Attention):
    """Attention whose queries meet, and whose values carry, the vector of each pair's offset.

    A pair's vector is one of few rows, so it is never expanded to (tokens, tokens, channels):
    logits are taken per row and then looked up, weights are summed per row and then multiplied.
    """

    def __init__(self, config: ViTConfig) -> None:
        super().__init__(config)
        self.reach = config.max_relative_distance
        rows = 2 * self.reach + 2
        self.query_pos_embedding = AxisTables(rows, self.head_dim // 2)
        self.value_pos_embedding = AxisTables(rows, self.head_dim // 2)
        self.register_buffer("relation", self._relation(config.grid_size), persistent=False)

    def forward(  # type: ignore[override]
        self,
        x: Float[torch.Tensor, "batch tokens dim"],
        grid_size: Grid | None = None,
        rotation: torch.Tensor | None = None,  # noqa: ARG002
    ) -> Float[torch.Tensor, "batch tokens dim"]:
        """Attend with relative positions; offsets are clipped, so that any grid will do."""
        batch, tokens, dim = x.shape
        relation = self._relation_at(grid_size or self.grid_size)
        qkv = self.qkv(x).reshape(batch, tokens, 3, self.num_heads, self.head_dim)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        logits = q @ k.transpose(-2, -1) + self._asked(q, relation)
        weights = self.attn_drop((logits * self.scale).softmax(dim=-1))
        out = weights @ v + self._carried(weights, relation)
        projected = self.proj(out.transpose(1, 2).reshape(batch, tokens, dim))
        dropped: torch.Tensor = self.proj_drop(projected)
        return dropped

    def _asked(self, q: torch.Tensor, relation: torch.Tensor) -> torch.Tensor:
        """Return q·r of every pair, r being the vector of its offset."""
        tables, halves = self.query_pos_embedding.axes, q.chunk(2, dim=-1)
        rows = torch.cat([half @ table.T for half, table in zip(halves, tables)], dim=-1)
        return torch.einsum("bhir,ijr->bhij", rows, relation.to(rows.dtype))

    def _carried(self, weights: torch.Tensor, relation: torch.Tensor) -> torch.Tensor:
        """Return the mean vector of the offsets to what each query attends to."""
        rows = torch.einsum("bhij,ijr->bhir", weights, relation.to(weights.dtype))
        tables, halves = self.value_pos_embedding.axes, rows.chunk(2, dim=-1)
        return torch.cat([half @ table for half, table in zip(halves, tables)], dim=-1)

    def _relation_at(self, grid_size: Grid) -> torch.Tensor:
        own: Any = self.relation
        relation: torch.Tensor = own
        return relation if grid_size == self.grid_size else self._relation(grid_size).to(own)

    def _relation(self, grid_size: Grid) -> torch.Tensor:
        """Return 1 where a pair (query, key) takes a row, (tokens, tokens, rows of x then of y)."""
        y, x = rows_and_columns(grid_size)
        rows = [self._rows(axis) for axis in (x, y)]
        taken = [functional.one_hot(row, 2 * self.reach + 2) for row in rows]
        return torch.cat(taken, dim=-1).float()

    def _rows(self, positions: torch.Tensor) -> torch.Tensor:
        offsets = positions[None, :] - positions[:, None]  # key − query
        rows = offsets.clamp(-self.reach, self.reach) + self.reach + 1
        return functional.pad(rows, (self.num_prefix_tokens, 0, self.num_prefix_tokens, 0))


@schemes.register("relative")
class Relative(Scheme):
    """Relative vectors in every block."""

    def attention(self) -> nn.Module:
        """Return an attention with tables of its own."""
        return RelativeAttention(self.config)
