"""How far the R² of probes depends on the images that they are tested on: replicates over images.

The fits stand; each image's errors are read off a second pass, and images are drawn anew.
"""

from __future__ import annotations

import numpy as np
import torch

from pe_inspect.arrays import Float
from pe_inspect.live.replicates import REPLICATES
from pe_inspect.ridge import FOLDS, cell_centres, fits_of_folds, position_folds
from pe_inspect.traces import FoldSums

__all__ = ["ProbeReplicates"]


class ProbeReplicates:
    """Errors of one place's probes on held-out images and positions.

    Args:
        sums: that the fits follow from.
        grid_size: (rows, columns) of patches there.
        images: how many are in each fold.
    """

    def __init__(self, sums: FoldSums, grid_size: tuple[int, int], images: tuple[int, ...]) -> None:
        self.targets = cell_centres(grid_size)
        self.folds = position_folds(len(self.targets))
        self.fits = fits_of_folds(sums, self.targets, images, self.folds)
        self.centre = torch.from_numpy(sums.centre.copy())
        self.wrong = torch.zeros(FOLDS, REPLICATES, self.targets.shape[1], dtype=torch.float64)
        self.count = torch.zeros(FOLDS, REPLICATES, dtype=torch.float64)

    def add(
        self,
        patches: Float[torch.Tensor, "batch patches channels"],
        first: int,
        weights: Float[torch.Tensor, "replicates batch"],
    ) -> None:
        """Add the patch tokens of a batch, whose first image is number `first`."""
        centred = patches.double() - self.centre.to(patches.device).double()
        for fold, fit in enumerate(self.fits):
            own = slice((fold - first) % FOLDS, None, FOLDS)
            places = np.flatnonzero(self.folds == fold)
            tokens = centred[own][:, torch.from_numpy(places)].cpu()
            told = tokens @ torch.from_numpy(fit.weights) + torch.from_numpy(fit.free)
            errors = (told - torch.from_numpy(self.targets[places])).square().sum(dim=1)
            self.wrong[fold] += weights[:, own] @ errors
            self.count[fold] += weights[:, own].sum(dim=1)

    def replicates(self) -> Float[np.ndarray, "replicates targets"]:
        """Return R² about the mean of the tested positions, mean over folds, of each replicate."""
        spread = [self.targets[self.folds == f].var(axis=0) * (self.folds == f).sum()
                  for f in range(FOLDS)]  # fmt: skip
        whole = self.count[:, :, None] * torch.from_numpy(np.stack(spread))[:, None]
        found: np.ndarray = (1 - self.wrong / whole).mean(dim=0).numpy()
        return found
