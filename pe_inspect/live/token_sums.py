"""Sums of tokens over images, as they stream by: for shares of variance, maps and probes."""

from __future__ import annotations

import numpy as np
import torch

from pe_inspect.arrays import Float
from pe_inspect.live.replicates import VarianceAccumulator
from pe_inspect.ridge import FOLDS
from pe_inspect.traces import FoldSums, TokenSums

__all__ = ["FoldAccumulator", "TokenAccumulator"]


class TokenAccumulator:
    """Sums of one place, in float64; their size is that of one image's tokens.

    Args:
        place: its name.
        grid_size: (rows, columns) of its patches.
        variance: sums that replicates of its shares of variance follow from, if any.
    """

    def __init__(
        self,
        place: str,
        grid_size: tuple[int, int],
        variance: VarianceAccumulator | None = None,
    ) -> None:
        self.place, self.grid_size, self.variance = place, grid_size, variance
        self.count = 0
        self.tokens: torch.Tensor | float = 0.0
        self.norms: torch.Tensor | float = 0.0
        self.squares: torch.Tensor | float = 0.0
        self.image_squares = 0.0

    def add(
        self,
        tokens: Float[torch.Tensor, "batch tokens channels"],
        weights: Float[torch.Tensor, "replicates batch"] | None = None,
    ) -> None:
        """Add the tokens of a batch of images, drawn so often in each replicate."""
        exact = tokens.double()
        patches = exact[:, exact.shape[1] - self.grid_size[0] * self.grid_size[1] :]
        self.count += len(tokens)
        self.tokens = self.tokens + exact.sum(dim=0)
        self.norms = self.norms + exact.norm(dim=-1).sum(dim=0)
        self.squares = self.squares + (patches**2).sum(dim=(0, 1))
        self.image_squares += float((patches.sum(dim=1) ** 2).sum())
        if self.variance is not None and weights is not None:
            self.variance.add(patches, weights)

    def sums(self) -> TokenSums:
        """Return what a trace holds of them."""
        mean, norms, squares = (
            np.asarray(torch.as_tensor(each).cpu()) for each in
            (self.tokens, self.norms, self.squares)
        )  # fmt: skip
        mean, norms = mean / self.count, norms / self.count
        patches = self.grid_size[0] * self.grid_size[1]
        grand = mean[len(mean) - patches :].mean(axis=0)
        by_channel = np.maximum(squares - self.count * patches * grand**2, 0.0)
        between = self.image_squares / patches - self.count * patches * float((grand**2).sum())
        return TokenSums(
            self.place, self.grid_size, mean.astype(np.float32), norms.astype(np.float32),
            float(by_channel.sum()), max(between, 0.0), by_channel,
            None if self.variance is None else self.variance.replicates(),
        )  # fmt: skip


class FoldAccumulator:
    """Products of patch tokens, by folds of images and of positions.

    Args:
        place: its name.
        folds: the fold of each position.
    """

    def __init__(self, place: str, folds: np.ndarray) -> None:
        self.place = place
        self.places = [torch.from_numpy(np.flatnonzero(folds == b)) for b in range(FOLDS)]
        self.centre: torch.Tensor | None = None
        self.sums: torch.Tensor
        self.grams: torch.Tensor

    def add(self, patches: Float[torch.Tensor, "batch patches channels"], first: int) -> None:
        """Add the patch tokens of a batch, whose first image is number `first`."""
        if self.centre is None:
            self.centre = patches.mean(dim=(0, 1))
            width, double = patches.shape[-1], torch.float64
            self.sums = torch.zeros(FOLDS, *patches.shape[1:], dtype=double, device=patches.device)
            self.grams = torch.zeros(FOLDS, FOLDS, width, width, device=patches.device)
        centred = patches - self.centre
        for a in range(FOLDS):
            own = centred[(a - first) % FOLDS :: FOLDS]
            if not len(own):
                continue
            self.sums[a] += own.double().sum(dim=0)
            for b, places in enumerate(self.places):
                rows = own[:, places.to(own.device)].flatten(0, 1)
                self.grams[a, b] += rows.T @ rows

    def folded(self) -> FoldSums:
        """Return what a trace holds of them."""
        if self.centre is None:
            raise ValueError("no image was added")
        plain = (each.float().cpu().numpy() for each in (self.centre, self.sums, self.grams))
        return FoldSums(self.place, *plain)
