"""Erasing, mixup and CutMix against their definitions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from closeness import ROUNDING
from hypothesis import given, settings
from hypothesis import strategies as st

from pe_inspect.data.augmentation import Augmentation
from pe_inspect.data.mixing import Mix, draw_boxes, draw_mix, erase, mix_images, mix_targets

SIZE = (7, 11)
AREA = SIZE[0] * SIZE[1]


def random(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def images(count: int = 4) -> torch.Tensor:
    return torch.randn(count, 3, *SIZE, generator=torch.Generator().manual_seed(0))


def test_mixup_blends_each_image_with_the_one_ahead_of_it() -> None:
    some, labels = images(), torch.tensor([2, 0, 1, 1])
    mixed, targets = mix_images(some, Mix(0.3)), mix_targets(labels, 3, Mix(0.3))
    for i in range(3):
        torch.testing.assert_close(mixed[i], 0.3 * some[i + 1] + 0.7 * some[i])
    expected = torch.tensor([[0.3, 0.0, 0.7], [0.7, 0.3, 0.0], [0.0, 1.0, 0.0]])
    torch.testing.assert_close(targets, expected)


@settings(max_examples=60)
@given(seed=st.integers(0, 10_000))
def test_the_labels_of_cutmix_have_the_mass_of_their_areas(seed: int) -> None:
    mix = draw_mix(Augmentation(cutmix=1.0), SIZE, random(seed))
    owners = torch.arange(2.0).view(2, 1, 1, 1).expand(2, 3, *SIZE)  # the partner is 0, own is 1
    kept = mix_images(owners, mix)[0, 0]
    assert float(kept.mean()) == pytest.approx(mix.own, abs=ROUNDING)
    torch.testing.assert_close(
        mix_targets(torch.tensor([0, 1]), 2, mix)[0], torch.tensor([1 - mix.own, mix.own])
    )


def test_the_weight_of_mixup_is_a_beta_variable() -> None:
    weights = [draw_mix(Augmentation(mixup=0.8), SIZE, random(seed)).own for seed in range(2000)]
    assert np.mean(weights) == pytest.approx(0.5, abs=0.02)
    assert np.var(weights) == pytest.approx(1 / (4 * (2 * 0.8 + 1)), abs=0.01)


def test_with_both_a_batch_takes_either_as_often() -> None:
    both = Augmentation(mixup=0.8, cutmix=1.0)
    cuts = [draw_mix(both, SIZE, random(seed)).box is not None for seed in range(1000)]
    assert np.mean(cuts) == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize(
    ("off", "epoch", "mixes"), [(0, 99, True), (3, 2, True), (3, 3, False), (3, 4, False)]
)
def test_mixing_may_end(off: int, epoch: int, mixes: bool) -> None:
    assert Augmentation(mixup=0.5, mixup_off_epoch=off).mixes(epoch) is mixes
    assert not Augmentation(mixup_off_epoch=off).mixes(epoch)


def test_erasing_takes_rectangles_of_the_area_and_aspect_that_it_says() -> None:
    size = (60, 90)
    top, left, bottom, right = draw_boxes(0.25, 4000, size, random()).T
    area, is_erased = (bottom - top) * (right - left) / (60 * 90), bottom > top
    assert is_erased.mean() == pytest.approx(0.25, abs=0.02)
    assert area[is_erased].min() > 0.015
    assert area[is_erased].max() < 0.35
    aspect = ((bottom - top)[is_erased]) / ((right - left)[is_erased])
    assert aspect.min() > 0.25
    assert aspect.max() < 4
    assert top.min() >= 0
    assert bottom.max() <= 60
    assert right.max() <= 90


def test_what_is_erased_is_zero_and_the_rest_stays() -> None:
    some = images(2) + 10
    erased = erase(some, np.array([[1, 2, 4, 9], [0, 0, 0, 0]]))
    expected = some.clone()
    expected[0, :, 1:4, 2:9] = 0
    assert torch.equal(erased, expected)


def test_nothing_fits_into_one_pixel() -> None:
    boxes = draw_boxes(1.0, 8, (1, 1), random())
    assert (boxes[:, 2] == boxes[:, 0]).all()
