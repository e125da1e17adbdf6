"""Random erasing, mixup and CutMix: what is drawn, and what it does to a batch.

All is drawn on the host. A batch is mixed with itself, moved on by one: the first image meets the
last one. So a share of a batch needs one image more than it gives.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from torch.nn import functional

from pe_inspect.data.augmentation import Augmentation

__all__ = ["Mix", "draw_boxes", "draw_mix", "erase", "mix_images", "mix_targets"]

TRIES: Final = 10
ERASED_AREA: Final = (0.02, 1 / 3)
FLATTEST: Final = 0.3  # height over width of what is erased; the tallest is its inverse


@dataclass(frozen=True)
class Mix:
    """How the images of one batch meet.

    Attributes:
        own: the weight of an image's own class; under CutMix the share of its area.
        box: (top, left, bottom, right) in pixels of what is pasted under CutMix; `None` is mixup.
    """

    own: float
    box: tuple[int, int, int, int] | None = None


def draw_mix(augmentation: Augmentation, size: tuple[int, int], random: np.random.Generator) -> Mix:
    """Draw mixup's weight or CutMix's box, one for the batch."""
    cuts = augmentation.cutmix > 0 and (not augmentation.mixup or random.random() < 0.5)
    alpha = augmentation.cutmix if cuts else augmentation.mixup
    own = float(random.beta(alpha, alpha))
    if not cuts:
        return Mix(own)
    height, width = size
    centre = random.integers(height), random.integers(width)
    half = 0.5 * math.sqrt(1 - own)
    top, bottom = _span(int(centre[0]), half * height, height)
    left, right = _span(int(centre[1]), half * width, width)
    return Mix(1 - (bottom - top) * (right - left) / (height * width), (top, left, bottom, right))


def _span(centre: int, half: float, size: int) -> tuple[int, int]:
    return max(0, int(centre - half)), min(size, int(centre + half))


def mix_images(images: torch.Tensor, mix: Mix) -> torch.Tensor:
    """Mix each image but the first with the one ahead of it.

    Args:
        images: (N + 1, C, H, W): the partner of the first image, then the images.
        mix: how.
    """
    partners, own = images[:-1], images[1:]
    if mix.box is None:
        return own * mix.own + partners * (1 - mix.own)
    top, left, bottom, right = mix.box
    mixed = own.clone()
    mixed[..., top:bottom, left:right] = partners[..., top:bottom, left:right]
    return mixed


def mix_targets(labels: torch.Tensor, num_classes: int, mix: Mix) -> torch.Tensor:
    """Return (N, classes) float32 shares of N + 1 class numbers, which lie as the images do."""
    shares = functional.one_hot(labels, num_classes).float()
    return shares[1:] * mix.own + shares[:-1] * (1 - mix.own)


def draw_boxes(
    often: float, count: int, size: tuple[int, int], random: np.random.Generator
) -> np.ndarray:
    """Draw what is erased of each image: (N, 4) top, left, bottom, right; empty for most.

    A rectangle has 2 to 33 % of the area and an aspect between 0.3 and 3.3; of ten draws the first
    that fits is taken. Source: arXiv:1708.04896, Algorithm 1.
    """
    height, width = size
    area = random.uniform(*ERASED_AREA, (count, TRIES)) * height * width
    aspect = np.exp(random.uniform(math.log(FLATTEST), -math.log(FLATTEST), (count, TRIES)))
    tall = np.round(np.sqrt(area * aspect)).astype(np.int64)
    wide = np.round(np.sqrt(area / aspect)).astype(np.int64)
    fits = (tall < height) & (wide < width)
    first = fits.argmax(axis=1)[:, None]
    is_erased = (random.random(count) < often) & fits.any(axis=1)
    tall = np.take_along_axis(tall, first, axis=1)[:, 0] * is_erased
    wide = np.take_along_axis(wide, first, axis=1)[:, 0] * is_erased
    top = np.floor(random.random(count) * (height - tall + 1)).astype(np.int64)
    left = np.floor(random.random(count) * (width - wide + 1)).astype(np.int64)
    return np.stack((top, left, top + tall, left + wide), axis=1)


def erase(
    images: torch.Tensor, boxes: np.ndarray, fill: torch.Tensor | float = 0.0
) -> torch.Tensor:
    """Return normalised images whose rectangles are `fill`: 0 (the mean colour), or an image."""
    top, left, bottom, right = (
        torch.from_numpy(boxes).to(images.device, non_blocking=True).view(-1, 4, 1, 1, 1).unbind(1)
    )
    y = torch.arange(images.shape[2], device=images.device).view(-1, 1)
    x = torch.arange(images.shape[3], device=images.device)
    inside = (y >= top) & (y < bottom) & (x >= left) & (x < right)
    return torch.where(inside, fill, images)
