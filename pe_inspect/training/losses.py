"""What a head's logits are held to: cross-entropy, or a binary one for every class."""

from __future__ import annotations

from typing import Final

import torch
from torch.nn import functional

from pe_inspect.arrays import Float

__all__ = ["LOSSES", "binary_cross_entropy", "cross_entropy"]


def cross_entropy(
    logits: Float[torch.Tensor, "batch classes"], targets: torch.Tensor, smoothing: float
) -> torch.Tensor:
    """Return the mean cross-entropy of class numbers (batch,), or of shares (batch, classes)."""
    return functional.cross_entropy(logits, targets, label_smoothing=smoothing)


def binary_cross_entropy(
    logits: Float[torch.Tensor, "batch classes"], targets: torch.Tensor, smoothing: float
) -> torch.Tensor:
    """Return the mean over images and classes; a class is there if it has any share of the image.

    Source: DeiT III (arXiv:2204.07118), section 3.1, after arXiv:2110.00476.

    Args:
        logits: one a class.
        targets: class numbers (batch,), or shares (batch, classes) of mixed images.
        smoothing: what is spread over all classes.
    """
    classes = logits.shape[-1]
    shares = targets if targets.ndim == 2 else functional.one_hot(targets, classes)
    wanted = (shares > 0).to(logits) * (1 - smoothing) + smoothing / classes
    return functional.binary_cross_entropy_with_logits(logits, wanted)


LOSSES: Final = {"cross-entropy": cross_entropy, "bce": binary_cross_entropy}
