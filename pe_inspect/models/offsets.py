"""Which row of a table of offsets each pair of patches takes."""

from __future__ import annotations

import torch

from pe_inspect.models.attention import Grid

__all__ = ["offset_index", "rows_and_columns"]


def rows_and_columns(grid_size: Grid) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the row and the column of every patch, row-major."""
    y, x = torch.meshgrid(*map(torch.arange, grid_size), indexing="ij")
    return y.flatten(), x.flatten()


def offset_index(grid_size: Grid) -> torch.Tensor:
    """Return (Δy + H − 1)·(2W − 1) + (Δx + W − 1), Δ = query − key, (patches, patches).

    Source: arXiv:2103.14030 (Swin), section 3.2.
    """
    height, width = grid_size
    down, right = (axis[:, None] - axis[None, :] for axis in rows_and_columns(grid_size))
    return (down + height - 1) * (2 * width - 1) + right + width - 1
