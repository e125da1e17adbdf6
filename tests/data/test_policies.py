"""What RandAugment and TrivialAugment draw."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pe_inspect.data.augmentation import Augmentation
from pe_inspect.data.policies import (
    OPERATIONS,
    SIGNED,
    PolicyDraws,
    amounts,
    apply_policy,
    draw_policy,
)

SIZE = (7, 11)


def drawn(policy: str, count: int = 4000, seed: int = 0, **more: int) -> PolicyDraws:
    augmentation = Augmentation(policy=policy, **more)
    return draw_policy(augmentation, count, SIZE, np.random.default_rng(seed))


def test_every_operation_is_as_likely() -> None:
    counts = np.bincount(drawn("randaugment").operations.ravel(), minlength=14)
    np.testing.assert_allclose(counts / counts.sum(), 1 / 14, atol=0.01)


def test_randaugment_takes_one_magnitude_and_either_sign() -> None:
    draws = drawn("randaugment", num_ops=3, magnitude=12)
    assert draws.operations.shape == (3, 4000)
    for number, name in enumerate(OPERATIONS[:14]):
        strengths = draws.amounts[draws.operations == number]
        amount = amounts("randaugment", *SIZE)[number, 12]
        assert set(strengths) == ({amount, -amount} if name in SIGNED else {amount})


def test_trivialaugment_takes_one_operation_and_any_magnitude() -> None:
    draws = drawn("trivialaugment", num_ops=3)
    assert draws.operations.shape == (1, 4000)
    turns = draws.amounts[draws.operations == OPERATIONS.index("rotate")]
    assert len(set(turns)) > 50
    assert abs((turns > 0).mean() - 0.5) < 0.1


def test_the_seed_fixes_the_draws() -> None:
    first, again, other = (drawn("trivialaugment", seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.amounts, again.amounts)
    assert not np.array_equal(first.amounts, other.amounts)


def test_each_image_meets_its_own_operations_in_their_order() -> None:
    random = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (40, 3, *SIZE), generator=random).to(torch.uint8)
    draws = drawn("randaugment", count=40)
    together = apply_policy(images, draws)
    for i in range(40):
        image = images[i : i + 1]
        for stage in range(2):
            one = PolicyDraws(
                draws.operations[[stage], i : i + 1], draws.amounts[[stage], i : i + 1]
            )
            image = apply_policy(image, one)
        assert torch.equal(together[i], image[0])


def test_the_images_that_came_in_stay_as_they_were() -> None:
    images = torch.full((40, 3, *SIZE), 100, dtype=torch.uint8)
    apply_policy(images, drawn("randaugment", count=40))
    assert (images == 100).all()


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("operation", OPERATIONS)
def test_the_order_in_which_pixels_lie_changes_nothing(operation: str, channels: int) -> None:
    random = torch.Generator().manual_seed(0)
    planes = torch.randint(0, 256, (9, channels, *SIZE), generator=random).to(torch.uint8)
    interleaved = planes.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)  # as files are read
    number = OPERATIONS.index(operation)
    draws = PolicyDraws(np.full((1, 9), number), np.linspace(0.1, 1.7, 9)[None])
    assert torch.equal(apply_policy(interleaved, draws), apply_policy(planes, draws))
