"""Every operation against torchvision's on one image, at every magnitude of both policies."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torchvision.transforms import InterpolationMode, v2

from pe_inspect.data.policies import OPERATIONS, SIGNED, PolicyDraws, amounts, apply_policy

POLICIES = {"randaugment": v2.RandAugment, "trivialaugment": v2.TrivialAugmentWide}
THEIR_NAMES = (
    *("Identity", "ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate", "Brightness"),
    *("Color", "Contrast", "Sharpness", "Posterize", "Solarize", "AutoContrast", "Equalize"),
)
BINS, SIZE = 31, (7, 11)
ROUNDING = {"colour": 0.01, "sharpness": 0.001}  # pixels that may be one level off


def pictures(channels: int) -> torch.Tensor:
    """Noise, a constant image, one with a constant stripe, and one of few grey levels."""
    random = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (2 * BINS, channels, *SIZE), generator=random)
    images[1] = 77
    images[2, :, :3] = 5
    images[3] = images[3] // 8 + 90
    return images.to(torch.uint8)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("operation", OPERATIONS[: len(THEIR_NAMES)])
@pytest.mark.parametrize("policy", POLICIES)
def test_a_batch_comes_out_as_torchvisions_images_one_by_one(
    policy: str, operation: str, channels: int
) -> None:
    number = OPERATIONS.index(operation)
    strengths = amounts(policy, *SIZE)[number]
    both = np.concatenate([strengths, -strengths if operation in SIGNED else strengths])
    images = pictures(channels)
    ours = apply_policy(images, PolicyDraws(np.full((1, len(both)), number), both[None]))
    transform = POLICIES[policy]()
    theirs = torch.stack(
        [
            transform._apply_image_or_video_transform(
                image, THEIR_NAMES[number], float(amount), InterpolationMode.NEAREST, {}
            )
            for image, amount in zip(images, both)
        ]
    )
    off = (ours.int() - theirs.int()).abs()
    assert off.max() <= (operation in ROUNDING)
    assert (off > 0).float().mean() <= ROUNDING.get(operation, 0)


@pytest.mark.parametrize("policy", POLICIES)
def test_the_amounts_are_torchvisions(policy: str) -> None:
    space = POLICIES[policy]._AUGMENTATION_SPACE
    assert set(space) == set(THEIR_NAMES)
    for name, theirs, ours in zip(OPERATIONS, THEIR_NAMES, amounts(policy, *SIZE)):
        magnitudes, is_signed = space[theirs]
        expected = magnitudes(BINS, *SIZE)
        np.testing.assert_allclose(ours, np.zeros(BINS) if expected is None else expected)
        assert is_signed == (name in SIGNED)


def test_images_too_small_to_blur_stay() -> None:
    images = pictures(3)[:2, :, :2]
    draws = PolicyDraws(np.full((1, 2), OPERATIONS.index("sharpness")), np.full((1, 2), 0.9))
    assert torch.equal(apply_policy(images, draws), images)
