"""What is kept of attention maps over images: their mean, or only its means by offset."""

from __future__ import annotations

from functools import lru_cache
from typing import Protocol

import numpy as np
import torch

from pe_inspect.arrays import Bool, Float, Int

__all__ = ["KeptMaps", "MeanMaps", "OffsetSums", "distances_of", "offset_indices"]


class KeptMaps(Protocol):
    """Sums of R, the attention among patches, over images."""

    def add(self, some: slice, summed: Float[torch.Tensor, "heads some patches"]) -> None:
        """Add R of some queries, summed over a batch."""
        ...

    def by_offset(
        self, pairs: Bool[np.ndarray, "queries patches"]
    ) -> Float[np.ndarray, "heads offsets"]:
        """Return the sums over images and over the pairs of each offset."""
        ...

    def of_mean(self, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Return, by head, the entropy of the mean over `count` images, and its Σ of squares."""
        ...


class MeanMaps:
    """The whole mean map of every head: heads × queries × patches floats.

    Args:
        heads: how many.
        queries: which patches are queries.
        grid_size: (rows, columns) of patches.
    """

    def __init__(self, heads: int, queries: torch.Tensor, grid_size: tuple[int, int]) -> None:
        self.cells = offset_indices(grid_size)[queries.cpu().numpy()]
        self.offsets = (2 * grid_size[0] - 1) * (2 * grid_size[1] - 1)
        self.total = torch.zeros(heads, *self.cells.shape, device=queries.device)

    def add(self, some: slice, summed: Float[torch.Tensor, "heads some patches"]) -> None:
        """Add R of some queries, summed over a batch."""
        self.total[:, some] += summed

    def by_offset(
        self, pairs: Bool[np.ndarray, "queries patches"]
    ) -> Float[np.ndarray, "heads offsets"]:
        """Return the sums over images and over the pairs of each offset."""
        cells, kept = self.cells[pairs], self.total.cpu().numpy()
        return np.stack([np.bincount(cells, head[pairs], minlength=self.offsets) for head in kept])

    def of_mean(self, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Return, by head, the entropy of the mean over `count` images, and its Σ of squares."""
        found = []
        for head in self.total:
            mean = head.double() / count
            found.append((torch.special.entr(mean).sum(dim=-1).mean(), mean.square().sum()))
        entropies, squares = zip(*found)
        return torch.stack(entropies).cpu().numpy(), torch.stack(squares).cpu().numpy()


class OffsetSums:
    """Sums by offset alone: heads × (2H − 1)(2W − 1) floats.

    Args:
        heads: how many.
        queries: which patches are queries.
        grid_size: (rows, columns) of patches.
    """

    def __init__(self, heads: int, queries: torch.Tensor, grid_size: tuple[int, int]) -> None:
        cells = offset_indices(grid_size)[queries.cpu().numpy()]
        self.cells = torch.from_numpy(cells).to(queries.device)
        offsets = (2 * grid_size[0] - 1) * (2 * grid_size[1] - 1)
        self.total = torch.zeros(heads, offsets, dtype=torch.float64, device=queries.device)

    def add(self, some: slice, summed: Float[torch.Tensor, "heads some patches"]) -> None:
        """Add R of some queries, summed over a batch."""
        self.total.index_add_(1, self.cells[some].flatten(), summed.flatten(1).double())

    def by_offset(
        self,
        pairs: Bool[np.ndarray, "queries patches"],  # noqa: ARG002  # others got no attention
    ) -> Float[np.ndarray, "heads offsets"]:
        """Return the sums over images and over the pairs of each offset."""
        return self.total.cpu().numpy()

    def of_mean(self, count: int) -> tuple[np.ndarray, np.ndarray]:  # noqa: ARG002
        """Return NaN: no mean map was kept."""
        unknown = np.full(len(self.total), np.nan)
        return unknown, unknown.copy()


def offset_indices(grid_size: tuple[int, int]) -> Int[np.ndarray, "queries keys"]:
    """Return which cell of (2H − 1)·(2W − 1) offsets key − query each pair of patches has."""
    rows, columns = np.divmod(np.arange(grid_size[0] * grid_size[1]), grid_size[1])
    down, right = rows[None] - rows[:, None], columns[None] - columns[:, None]
    cells: np.ndarray = (down + grid_size[0] - 1) * (2 * grid_size[1] - 1) + right
    return cells + grid_size[1] - 1


@lru_cache(maxsize=8)
def distances_of(grid_size: tuple[int, int]) -> Float[torch.Tensor, "patches patches"]:
    """Return the Euclidean distance of every pair of patches, in patches."""
    rows, columns = np.divmod(np.arange(grid_size[0] * grid_size[1]), grid_size[1])
    apart: np.ndarray = np.hypot(rows[:, None] - rows[None], columns[:, None] - columns[None])
    return torch.from_numpy(apart.astype(np.float32))
