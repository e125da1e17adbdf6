"""`randaugment-timm` against timm's own policy: its amounts, its operations, how often it acts."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from timm.data import auto_augment
from timm.data.auto_augment import LEVEL_TO_ARG, AugmentOp, rand_augment_transform

from pe_inspect.data import policies
from pe_inspect.data.augmentation import Augmentation
from pe_inspect.data.batches import Batch, Batches
from pe_inspect.data.policies import OPERATIONS, PolicyDraws, apply_policy, draw_policy

SIZE = (7, 11)
THEIRS = {
    "shear_x": "ShearX", "shear_y": "ShearY", "translate_x": "TranslateXRel",
    "translate_y": "TranslateYRel", "rotate": "Rotate", "brightness": "BrightnessIncreasing",
    "colour": "ColorIncreasing", "contrast": "ContrastIncreasing",
    "sharpness": "SharpnessIncreasing", "posterize": "PosterizeIncreasing",
    "solarize": "SolarizeIncreasing", "auto_contrast": "AutoContrast", "equalize": "Equalize",
    "solarize_add": "SolarizeAdd", "invert": "Invert",
}  # fmt: skip
ONE_OFF = {"brightness", "colour", "contrast", "sharpness"}  # floats are cut, or rounded


def drawn(count: int = 8000) -> PolicyDraws:
    augmentation = Augmentation(policy="randaugment-timm")
    return draw_policy(augmentation, count, SIZE, np.random.default_rng(0))


def test_the_operations_are_timm_s() -> None:
    policy = rand_augment_transform("rand-m9-mstd0.5-inc1", {})
    assert sorted(THEIRS.values()) == sorted(op.name for op in policy.ops)
    assert set(THEIRS) == set(OPERATIONS) - {"identity", "grey", "blur"}


@pytest.mark.parametrize("name", THEIRS)
def test_amounts_at_every_level_are_timm_s(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auto_augment, "_randomly_negate", lambda value: value)
    to_arguments = LEVEL_TO_ARG[THEIRS[name]]
    for level in np.linspace(0, 10, 21):
        given = to_arguments(level, {}) if to_arguments else ()
        theirs = float(given[0]) if given else 0.0
        amount = policies.timms_amounts(name, np.array([level]), np.array([1.0]), SIZE)[0]
        scale = {"translate_x": SIZE[1], "translate_y": SIZE[0], "solarize": 1 / 255}.get(name, 1)
        shift = 1.0 if name in ONE_OFF else 0.0
        assert amount == pytest.approx((theirs - shift) * scale, abs=1e-9)


def test_an_operation_is_left_out_half_of_the_time_and_the_others_are_as_likely() -> None:
    counts = np.bincount(drawn().operations.ravel(), minlength=len(OPERATIONS)) / 16_000
    assert counts[0] == pytest.approx(0.5, abs=0.02)
    np.testing.assert_allclose(counts[1:16], 0.5 / 15, atol=0.006)
    assert not counts[16:].any()


def test_levels_lie_about_the_magnitude_and_either_way() -> None:
    draws = drawn(60_000)
    turns = draws.amounts[draws.operations == OPERATIONS.index("rotate")]
    assert (turns > 0).mean() == pytest.approx(0.5, abs=0.05)
    assert np.abs(turns).max() <= 30
    assert np.abs(turns).mean() == pytest.approx(27, abs=0.2)
    assert np.abs(turns).std() == pytest.approx(1.5, abs=0.15)


@pytest.mark.parametrize("name", [*THEIRS][5:])
def test_a_picture_comes_out_as_timm_s(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auto_augment, "_randomly_negate", lambda value: value)
    random = torch.Generator().manual_seed(1)
    image = torch.randint(0, 256, (1, 3, *SIZE), generator=random).to(torch.uint8)
    theirs = AugmentOp(THEIRS[name], prob=1.0, magnitude=7)(
        Image.fromarray(image[0].permute(1, 2, 0).numpy())
    )
    amount = policies.timms_amounts(name, np.array([7.0]), np.array([1.0]), SIZE)
    draws = PolicyDraws(np.array([[OPERATIONS.index(name)]]), amount[None])
    ours = apply_policy(image, draws)[0].permute(1, 2, 0).numpy().astype(int)
    assert np.abs(ours - np.asarray(theirs, int)).max() <= (name in ONE_OFF | {"auto_contrast"})


def batches(**more: object) -> Batches:
    return Batches(
        mean=(0.5, 0.25, 0.75), std=(0.2, 0.2, 0.2), size=SIZE, num_classes=2, device="cpu",
        augmentation=Augmentation(**more), seed=0,
    )  # fmt: skip


def test_the_mean_colour_moves_in() -> None:
    made = batches(policy="randaugment-timm")
    image = torch.zeros(1, 3, *SIZE, dtype=torch.uint8)
    draws = PolicyDraws(np.array([[OPERATIONS.index("translate_x")]]), np.array([[4.0]]))

    moved = apply_policy(image, draws, *made._moved_in)

    np.testing.assert_array_equal(moved[0, :, 0, 0], [128, 64, 191])
    assert not moved[0, :, :, 5:].any()


def test_noise_fills_what_is_erased_and_is_the_same_in_every_share_of_a_batch() -> None:
    made = batches(erasing=1.0, erasing_fill="noise")
    images, labels = torch.full((64, 3, *SIZE), 9.0), torch.zeros(64, dtype=torch.long)
    whole = Batch(1, 0, 64, np.arange(64))
    part = Batch(1, 0, 64, np.arange(16, 48))

    ((full, _),) = made.finished(images, labels, [whole])
    ((share, _),) = made.finished(images[16:48], labels[16:48], [part])

    noise = full[full != 9.0]
    assert torch.equal(share, full[16:48])
    assert 0.02 < noise.numel() / full.numel() < 0.33
    assert abs(float(noise.mean())) < 0.3
    assert abs(float(noise.std()) - 1) < 0.3
