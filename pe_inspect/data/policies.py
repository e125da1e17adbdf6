"""RandAugment, TrivialAugment, 3-Augment: which operation meets which image, and how strongly.

RandAugment is torchvision's or timm's; the colour jitter comes after any of them.

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

__all__ = ["OPERATIONS", "PolicyDraws", "amounts", "apply_policy", "draw_policy", "timms_amounts"]

BINS: Final = 31
TOP_LEVEL: Final = 10  # of timm's policy
LEVEL_STD: Final = 0.5  # its mstd
OPERATIONS: Final = ("identity", *GEOMETRY, *COLOUR)
ONLY_DEIT_IIIS: Final = ("grey", "blur")  # the last two
NOT_TORCHVISIONS: Final = ("solarize_add", "invert", *ONLY_DEIT_IIIS)  # the last four
JITTERED: Final = ("brightness", "contrast", "colour")
MIDDLE: Final = 128 / 255  # where 3-Augment solarises
BLURS: Final = (0.1, 2.0)  # standard deviations in pixels
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

    def then(self, later: PolicyDraws) -> PolicyDraws:
        """Return these rounds and, after them, those of another policy."""
        return PolicyDraws(
            np.concatenate([self.operations, later.operations]),
            np.concatenate([self.amounts, later.amounts]),
        )

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
    """Draw an operation and its amount for every image, and round."""
    if augmentation.policy == "none":
        drawn = PolicyDraws(np.zeros((0, count), np.int64), np.zeros((0, count)))
    elif augmentation.policy == "randaugment-timm":
        drawn = _draw_timms(augmentation, count, size, random)
    elif augmentation.policy == "3-augment":
        drawn = _draw_one_of_three(count, random)
    else:
        drawn = _draw_torchvisions(augmentation, count, size, random)
    return drawn.then(_draw_jitter(augmentation.color_jitter, count, random))


def _draw_torchvisions(
    augmentation: Augmentation, count: int, size: tuple[int, int], random: np.random.Generator
) -> PolicyDraws:
    """Draw an operation, its bin and its sign for every image, and round."""
    is_rand = augmentation.policy == "randaugment"
    shape = (augmentation.num_ops if is_rand else 1, count)
    operations = random.integers(len(OPERATIONS) - len(NOT_TORCHVISIONS), size=shape)
    drawn = random.integers(BINS, size=shape)
    bins = np.full(shape, augmentation.magnitude) if is_rand else drawn
    is_turned = np.array([name in SIGNED for name in OPERATIONS])[operations]
    signs = np.where(is_turned & (random.random(shape) < 0.5), -1.0, 1.0)
    return PolicyDraws(operations, amounts(augmentation.policy, *size)[operations, bins] * signs)


def _draw_timms(
    augmentation: Augmentation, count: int, size: tuple[int, int], random: np.random.Generator
) -> PolicyDraws:
    """Draw as timm's `rand-m{magnitude}-n{num_ops}-mstd0.5-inc1`.

    An operation is left out half of the time, and its level, 0 … 10, varies about the magnitude.
    """
    shape = (augmentation.num_ops, count)
    drawn = random.integers(1, len(OPERATIONS) - len(ONLY_DEIT_IIIS), size=shape)
    levels = random.normal(augmentation.magnitude, LEVEL_STD, shape).clip(0, TOP_LEVEL)
    signs = np.where(random.random(shape) < 0.5, -1.0, 1.0)
    operations = np.where(random.random(shape) < 0.5, drawn, 0)
    strengths = np.zeros(shape)
    for number, name in enumerate(OPERATIONS):
        met = operations == number
        strengths[met] = timms_amounts(name, levels[met], signs[met], size)
    return PolicyDraws(operations, strengths)


def _draw_one_of_three(count: int, random: np.random.Generator) -> PolicyDraws:
    """Draw grey, solarised or blurred for every image, each as often."""
    which = random.integers(3, size=(1, count))
    numbers = [OPERATIONS.index(name) for name in ("grey", "solarize", "blur")]
    strengths = np.stack([
        np.zeros(count), np.full(count, MIDDLE), random.uniform(*BLURS, count)
    ])  # fmt: skip
    return PolicyDraws(np.array(numbers)[which], np.take_along_axis(strengths, which, axis=0))


def _draw_jitter(most: float, count: int, random: np.random.Generator) -> PolicyDraws:
    """Draw the order of three operations for every image, and the amount of each."""
    rounds = len(JITTERED) if most else 0
    orders = random.permuted(np.tile(np.arange(rounds)[:, None], count), axis=0)
    numbers = np.array([OPERATIONS.index(name) for name in JITTERED])
    return PolicyDraws(numbers[orders], random.uniform(-most, most, (rounds, count)))


def timms_amounts(
    name: str, levels: np.ndarray, signs: np.ndarray, size: tuple[int, int]
) -> np.ndarray:
    """Return an operation's amounts at levels 0 … 10, of timm's "increasing" set.

    Source: `timm.data.auto_augment`, `_RAND_INCREASING_TRANSFORMS`.
    """
    share = levels / TOP_LEVEL
    height, width = size
    tops = {"shear_x": 0.3, "shear_y": 0.3, "rotate": 30.0,
            "translate_x": 0.45 * width, "translate_y": 0.45 * height}  # fmt: skip
    if name in tops:
        return np.asarray(share * tops[name] * signs)
    if name in SIGNED:
        return np.asarray((share * 0.9 * signs).clip(-0.9))
    whole = {
        "posterize": 4 - np.trunc(share * 4),
        "solarize": (256 - np.trunc(share * 256)) / 255,
        "solarize_add": np.trunc(share * 110),
    }
    return whole.get(name, np.zeros(len(levels)))


def apply_policy(
    images: torch.Tensor,
    draws: PolicyDraws,
    mode: str = "nearest",
    outside: torch.Tensor | float = 0.0,
) -> torch.Tensor:
    """Return the images, (N, C, H, W) uint8, after their operations.

    Args:
        images: as they are.
        draws: one operation an image and round.
        mode: how pixels are moved: `"nearest"` or `"bicubic"`.
        outside: the colour that moves in, 0 … 255.
    """
    for operations, strengths in zip(draws.operations, draws.amounts):
        images = _round(images, operations, strengths, mode, outside)
    return images


def _round(
    images: torch.Tensor,
    operations: np.ndarray,
    strengths: np.ndarray,
    mode: str,
    outside: torch.Tensor | float,
) -> torch.Tensor:
    """Let every image meet one operation: those that move pixels in one gather."""
    matrices, moved = _all_matrices(operations, strengths, *images.shape[-2:])
    images = images.clone()
    if len(moved):
        where = _on(moved, images)
        turned = _on(matrices.astype(np.float32), images)
        images[where] = warp(images[where], turned, mode, outside)
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
