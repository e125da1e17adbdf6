"""DeiT III's 3-Augment and colour jitter against Pillow, SciPy and torchvision."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter, ImageOps
from scipy.ndimage import gaussian_filter
from torchvision.transforms import functional as theirs

from pe_inspect.data.augmentation import Augmentation
from pe_inspect.data.policies import OPERATIONS, PolicyDraws, apply_policy, draw_policy

SIZE = (13, 18)
NUMBERS = {name: number for number, name in enumerate(OPERATIONS)}
JITTERS = {
    "brightness": theirs.adjust_brightness,
    "contrast": theirs.adjust_contrast,
    "colour": theirs.adjust_saturation,
}


def pictures(count: int = 4) -> torch.Tensor:
    random = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, 3, *SIZE), generator=random).to(torch.uint8)


def as_image(picture: torch.Tensor) -> Image.Image:
    return Image.fromarray(picture.permute(1, 2, 0).numpy())


def as_planes(image: Image.Image) -> np.ndarray:
    return np.asarray(image, int).transpose(2, 0, 1)


def done(name: str, amounts: np.ndarray) -> np.ndarray:
    draws = PolicyDraws(np.full((1, len(amounts)), NUMBERS[name]), amounts[None])
    return apply_policy(pictures(len(amounts)), draws).numpy().astype(int)


def drawn(count: int = 9000, **more: object) -> PolicyDraws:
    augmentation = Augmentation(**{"policy": "3-augment", **more})
    return draw_policy(augmentation, count, SIZE, np.random.default_rng(0))


def test_grey_is_pillows() -> None:
    for ours, picture in zip(done("grey", np.zeros(4)), pictures()):
        grey = as_image(picture).convert("L").convert("RGB")
        np.testing.assert_array_equal(ours, as_planes(grey))


def test_what_it_solarises_is_pillows() -> None:
    draws = drawn()
    (threshold,) = np.unique(draws.amounts[draws.operations == NUMBERS["solarize"]])
    for ours, picture in zip(done("solarize", np.full(4, threshold)), pictures()):
        np.testing.assert_array_equal(ours, as_planes(ImageOps.solarize(as_image(picture))))


def test_a_blur_is_a_gaussian_of_its_own_width_for_every_image() -> None:
    deviations = np.array([0.1, 0.7, 1.3, 2.0])
    for ours, picture, deviation in zip(done("blur", deviations), pictures(), deviations):
        wanted = gaussian_filter(
            picture.double().numpy(), (0, deviation, deviation), mode="nearest", truncate=6.0
        )
        assert np.abs(ours - wanted).max() < 1.5  # rounding, and what lies beyond three deviations
        boxes = as_planes(as_image(picture).filter(ImageFilter.GaussianBlur(float(deviation))))
        assert np.abs(ours - boxes).mean() < 4  # of noise; three boxes in a row


def test_one_of_three_meets_every_image_and_each_as_often() -> None:
    draws = drawn()
    assert draws.operations.shape == (1, 9000)
    names = [OPERATIONS[number] for number in np.unique(draws.operations)]
    assert sorted(names) == ["blur", "grey", "solarize"]
    counts = [np.mean(draws.operations == NUMBERS[name]) for name in names]
    np.testing.assert_allclose(counts, 1 / 3, atol=0.02)
    widths = draws.amounts[draws.operations == NUMBERS["blur"]]
    assert 0.1 <= widths.min() < 0.15
    assert 1.95 < widths.max() <= 2.0


def test_the_jitter_comes_after_in_every_order_and_by_at_most_as_much() -> None:
    draws = drawn(color_jitter=0.3)
    orders = {tuple(OPERATIONS[number] for number in column) for column in draws.operations[1:].T}
    assert orders == set(permutations(JITTERS))
    amounts = draws.amounts[1:]
    assert -0.3 <= amounts.min() < -0.29
    assert 0.29 < amounts.max() <= 0.3
    assert np.abs(np.corrcoef(amounts)[np.triu_indices(3, 1)]).max() < 0.05
    np.testing.assert_array_equal(drawn().operations[0], draws.operations[0])


@pytest.mark.parametrize("name", JITTERS)
def test_each_jitter_is_torchvisions(name: str) -> None:
    amounts = np.array([-0.3, -0.1, 0.17, 0.3])
    for ours, picture, amount in zip(done(name, amounts), pictures(), amounts):
        wanted = as_planes(JITTERS[name](as_image(picture), 1 + amount))
        assert np.abs(ours - wanted).max() <= 1


def test_the_jitter_alone_needs_no_policy() -> None:
    assert Augmentation(color_jitter=0.3).recolours
    assert not Augmentation().recolours
    draws = drawn(policy="none", color_jitter=0.3)
    assert draws.operations.shape == (3, 9000)
