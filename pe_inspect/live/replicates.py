"""Bootstrap replicates over images, as they stream by: each image counts Poisson(1) times in each.

No image is kept. What a share of variance needs is summed along a few random directions of the
channels, on which sums of squares keep their expectation. Source: arXiv:1312.5021 (Poisson weights
for streams).
"""

from __future__ import annotations

import numpy as np
import torch

from pe_inspect.arrays import Float
from pe_inspect.traces import VarianceReplicates

__all__ = ["DIRECTIONS", "REPLICATES", "MeanReplicates", "VarianceAccumulator", "weights_of"]

REPLICATES = 100
DIRECTIONS = 16


def weights_of(first: int, count: int, seed: int) -> Float[torch.Tensor, "replicates images"]:
    """Return how often each of `count` images from number `first` on is drawn in each replicate.

    They depend on the image's number and the seed alone, not on batches.
    """
    drawn = [np.random.default_rng((seed, i)).poisson(1.0, REPLICATES)
             for i in range(first, first + count)]  # fmt: skip
    return torch.from_numpy(np.stack(drawn, axis=1).astype(np.float64))


class MeanReplicates:
    """Replicates of means over images."""

    def __init__(self) -> None:
        self.total: torch.Tensor | float = 0.0
        self.count: torch.Tensor | float = 0.0

    def add(
        self,
        values: Float[torch.Tensor, "images ..."],
        weights: Float[torch.Tensor, "replicates images"],
    ) -> None:
        """Add one value, or an array of them, of each image."""
        drawn = weights.to(values.device)
        self.total = self.total + torch.tensordot(drawn, values.double(), dims=1)
        self.count = self.count + drawn.sum(dim=1)

    def means(self) -> Float[np.ndarray, "replicates ..."]:
        """Return the mean of each replicate; NaN of one in which no image was drawn."""
        total, count = (np.asarray(torch.as_tensor(x).cpu()) for x in (self.total, self.count))
        with np.errstate(invalid="ignore"):
            means: np.ndarray = total / count.reshape(-1, *[1] * (total.ndim - 1))
        return means


class VarianceAccumulator:
    """Sums of one place from which shares of variance follow, replicate by replicate.

    Args:
        seed: of the directions.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.directions: torch.Tensor  # (channels, DIRECTIONS)
        self.centre: torch.Tensor | None = None
        self.count: torch.Tensor | float = 0.0
        self.places: torch.Tensor | float = 0.0
        self.squares: torch.Tensor | float = 0.0
        self.image_squares: torch.Tensor | float = 0.0

    def add(
        self,
        patches: Float[torch.Tensor, "images patches channels"],
        weights: Float[torch.Tensor, "replicates images"],
    ) -> None:
        """Add the patch tokens of a batch of images."""
        if self.centre is None:
            self.centre = self._begin(patches)
        weights = weights.to(patches.device)
        seen = (patches.float() - self.centre) @ self.directions
        self.count = self.count + weights.sum(dim=1)
        self.places = self.places + torch.tensordot(weights.float(), seen, dims=1)
        seen = seen.double()
        self.squares = self.squares + weights @ seen.square().sum(dim=(1, 2))
        of_images = seen.mean(dim=1).square().sum(dim=1) * seen.shape[1]
        self.image_squares = self.image_squares + weights @ of_images

    def _begin(self, patches: torch.Tensor) -> torch.Tensor:
        """Draw directions, and return what all tokens are taken from."""
        random = torch.Generator().manual_seed(self.seed)
        drawn = torch.randn(patches.shape[-1], DIRECTIONS, generator=random)
        self.directions = drawn.to(patches.device)
        return patches[0].float().mean(dim=0)

    def replicates(self) -> VarianceReplicates:
        """Return what a trace holds: sums of squares about the grand mean."""
        count, places = torch.as_tensor(self.count), torch.as_tensor(self.places).double()
        shared = count[:, None, None].clamp_min(1)
        mean = places / shared
        grand = mean.mean(dim=1, keepdim=True)
        about = count * places.shape[1] * grand.square().sum(dim=(1, 2))
        found = (
            count,
            count * (mean - grand).square().sum(dim=(1, 2)),
            torch.as_tensor(self.squares) - about,
            torch.as_tensor(self.image_squares) - about,
        )
        return VarianceReplicates(*(each.cpu().numpy() for each in found))
