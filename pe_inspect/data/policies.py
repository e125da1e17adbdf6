"""RandAugment and TrivialAugment: which operation meets which image, and how strongly.

Everything is drawn on the host from the seed, the epoch and the batch, so that the same images
come out on every device, and no draw waits for one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import torch

from pe_inspect.data.augmentation import Augmentation
from pe_inspect.data.image_ops import COLOUR, GEOMETRY, warp

__all__ = ["OPERATIONS", "PolicyDraws", "amounts", "apply_policy", "draw_policy"]

BINS: Final = 31
OPERATIONS: Final = ("identity", *GEOMETRY, *COLOUR)
SIGNED: Final = frozenset((*GEOMETRY, "brightness", "colour", "contrast", "sharpness"))


@dataclass(frozen=True)
class _Space:
    """The amounts of a policy's strongest bin; the weakest does nothing.

    Attributes:
        shear: pixels a pixel.
        shift: pixels, or the share of a side where `is_share`.
        is_share: see `shift`.
        turn: degrees.
        enhance: of brightness, colour, contrast and sharpness.
        bits: that posterize takes away.
    """

    shear: float
    shift: float
    is_share: bool
    turn: float
    enhance: float
    bits: int


_SPACES: Final = {
    "randaugment": _Space(0.3, 150 / 331, True, 30.0, 0.9, 4),
    "trivialaugment": _Space(0.99, 32.0, False, 135.0, 0.99, 6),
}


def amounts(policy: str, height: int, width: int) -> np.ndarray:
    """Return the (operations, 31) amounts of a policy, in the order of `OPERATIONS`.

    Source: the tables of `RandAugment` and `TrivialAugmentWide` in torchvision.
    """
    space = _SPACES[policy]
    across, down = (width, height) if space.is_share else (1, 1)
    tops = {
        **dict.fromkeys(("shear_x", "shear_y"), space.shear),
        "translate_x": space.shift * across,
        "translate_y": space.shift * down,
        "rotate": space.turn,
        **dict.fromkeys(("brightness", "colour", "contrast", "sharpness"), space.enhance),
    }
    table = {name: torch.linspace(0.0, top, BINS).double().numpy() for name, top in tops.items()}
    table["posterize"] = np.round(8 - np.arange(BINS) * space.bits / (BINS - 1))
    table["solarize"] = torch.linspace(1.0, 0.0, BINS).double().numpy()
    return np.stack([table.get(name, np.zeros(BINS)) for name in OPERATIONS])


@dataclass(frozen=True)
class PolicyDraws:
    """What happens to the images of a batch.

    Attributes:
        operations: (rounds, N) numbers in `OPERATIONS`.
        amounts: (rounds, N), signs included.
    """

    operations: np.ndarray
    amounts: np.ndarray

    def at(self, positions: np.ndarray) -> PolicyDraws:
        """Return the draws of some images."""
        return PolicyDraws(self.operations[:, positions], self.amounts[:, positions])

    @classmethod
    def joined(cls, draws: list[PolicyDraws]) -> PolicyDraws:
        """Return the draws of several batches in a row."""
        return cls(
            np.concatenate([each.operations for each in draws], axis=1),
            np.concatenate([each.amounts for each in draws], axis=1),
        )


def draw_policy(
    augmentation: Augmentation, count: int, size: tuple[int, int], random: np.random.Generator
) -> PolicyDraws:
    """Draw an operation, its bin and its sign for every image, and round."""
    is_rand = augmentation.policy == "randaugment"
    shape = (augmentation.num_ops if is_rand else 1, count)
    operations = random.integers(len(OPERATIONS), size=shape)
    drawn = random.integers(BINS, size=shape)
    bins = np.full(shape, augmentation.magnitude) if is_rand else drawn
    is_turned = np.array([name in SIGNED for name in OPERATIONS])[operations]
    signs = np.where(is_turned & (random.random(shape) < 0.5), -1.0, 1.0)
    return PolicyDraws(operations, amounts(augmentation.policy, *size)[operations, bins] * signs)


def apply_policy(images: torch.Tensor, draws: PolicyDraws) -> torch.Tensor:
    """Return the images, (N, C, H, W) uint8, after their operations."""
    for operations, strengths in zip(draws.operations, draws.amounts):
        images = _round(images, operations, strengths)
    return images


def _round(images: torch.Tensor, operations: np.ndarray, strengths: np.ndarray) -> torch.Tensor:
    """Let every image meet one operation: those that move pixels in one gather."""
    matrices, moved = _all_matrices(operations, strengths, *images.shape[-2:])
    images = images.clone()
    if len(moved):
        where = _on(moved, images)
        images[where] = warp(images[where], _on(matrices.astype(np.float32), images))
    for name, operation in COLOUR.items():
        met = np.flatnonzero(operations == OPERATIONS.index(name))
        if len(met):
            where = _on(met, images)
            images[where] = operation(images[where], strengths[met])
    return images


def _all_matrices(
    operations: np.ndarray, strengths: np.ndarray, height: int, width: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the matrices of the images that are moved, and which those are."""
    parts = []
    met = [np.flatnonzero(operations == OPERATIONS.index(name)) for name in GEOMETRY]
    for matrices, where in zip(GEOMETRY.values(), met):
        parts.append(matrices(strengths[where], height, width))
    return np.concatenate(parts), np.concatenate(met)


def _on(values: np.ndarray, images: torch.Tensor) -> torch.Tensor:
    return torch.from_numpy(values).to(images.device, non_blocking=True)
