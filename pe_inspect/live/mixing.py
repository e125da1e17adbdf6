"""LaPE's λ: how much of the spread of a token is that of its position vector, by block."""

from __future__ import annotations

import torch
from torch import nn

from pe_inspect.arrays import Float
from pe_inspect.traces import PositionShare

__all__ = ["ShareAccumulator", "omega_from"]

CONSTANT: float = 1e-4  # of ω's largest entry: how far it may differ from image to image


class ShareAccumulator:
    """Sums of one block, over images and patches.

    Args:
        layer: the block.
        norm: whose ε counts.
    """

    def __init__(self, layer: str, norm: nn.Module) -> None:
        self.layer, self.eps = layer, float(getattr(norm, "eps", 0.0) or 0.0)
        self.totals = torch.zeros(3, dtype=torch.float64)
        self.count = 0
        self.residual = 0.0

    def add(
        self,
        patches: Float[torch.Tensor, "batch patches channels"],
        omega: Float[torch.Tensor, "patches channels"],
    ) -> None:
        """Add the patch tokens ahead of the block."""
        patches, omega = patches.double(), omega.double()  # the identity is exact; float32 is not
        content = patches - omega
        (normed, sigma), (of_content, sigma_c), (of_omega, sigma_o) = (
            self._normed(each) for each in (patches, content, omega.expand_as(patches))
        )
        first, second = sigma_c / sigma, sigma_o / sigma
        sum_of_both = first * of_content + second * of_omega
        self.residual = max(self.residual, float((normed - sum_of_both).abs().max()))
        alike = torch.nn.functional.cosine_similarity(of_content, of_omega, dim=-1)
        found = torch.stack([each.double().sum() for each in (first, second, alike)])
        self.totals += found.cpu()
        self.count += patches.shape[0] * patches.shape[1]

    def _normed(self, tokens: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        centred = tokens - tokens.mean(dim=-1, keepdim=True)
        sigma = (centred.square().mean(dim=-1, keepdim=True) + self.eps).sqrt()
        return centred / sigma, sigma

    def share(self) -> PositionShare:
        """Return what a trace holds."""
        content, position, alike = (self.totals / self.count).tolist()
        return PositionShare(self.layer, content, position, self.residual, alike)


def omega_from(
    given: Float[torch.Tensor, "batch patches channels"],
    without: Float[torch.Tensor, "batch patches channels"],
) -> Float[torch.Tensor, "patches channels"] | None:
    """Return the vectors that a model adds to its tokens, or `None` if it adds none.

    Args:
        given: patch tokens ahead of the first block.
        without: the same without positions.
    """
    added = given - without
    omega = added.mean(dim=0)
    largest = float(omega.abs().max())
    spread = float((added - omega).abs().max())
    floor = 1e-5 * float(given.abs().max())
    return omega if largest > floor and spread <= max(CONSTANT * largest, floor) else None
