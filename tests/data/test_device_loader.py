from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pe_inspect.data import Split, device_loader
from pe_inspect.data.device_loader import Augmentation, DeviceLoader
from pe_inspect.errors import UsageError

COUNT, HEIGHT, WIDTH = 10, 3, 5


def split() -> Split:
    """Images without two equal pixels; the label is the image's number."""
    size = COUNT * HEIGHT * WIDTH
    pixels = np.arange(size, dtype=np.uint8) + 50
    return Split(pixels.reshape(COUNT, 1, HEIGHT, WIDTH), np.arange(COUNT))


def loader(*, batch_size: int = 4, seed: int = 0, **augmentation: object) -> DeviceLoader:
    return DeviceLoader(
        split(),
        mean=(0.0,),
        std=(1 / 255,),
        batch_size=batch_size,
        augmentation=Augmentation(**augmentation),
        seed=seed,
    )


def epoch_of(loader: DeviceLoader, number: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    images, labels = zip(*loader.epoch(number))
    return torch.cat(images), torch.cat(labels)


def test_an_epoch_is_shuffled_full_batches_without_repeats() -> None:
    images, labels = epoch_of(loader())
    assert loader().batches_per_epoch == 2
    assert len(set(labels.tolist())) == 8
    assert labels.tolist() != sorted(labels.tolist())
    torch.testing.assert_close(images, torch.from_numpy(split().images[labels]).float())


def test_a_set_smaller_than_a_batch_is_one_batch() -> None:
    assert loader(batch_size=64).batches_per_epoch == 1
    assert epoch_of(loader(batch_size=64))[0].shape == (COUNT, 1, HEIGHT, WIDTH)


def test_in_order_every_image_comes_once() -> None:
    labels = torch.cat([labels for _, labels in loader(shift=2, flip=True).in_order()])
    images = torch.cat([images for images, _ in loader(shift=2, flip=True).in_order()])
    assert labels.tolist() == list(range(COUNT))
    torch.testing.assert_close(images, torch.from_numpy(split().images).float())


def test_mean_becomes_zero_and_std_one() -> None:
    pixels = split().images / 255
    normal = DeviceLoader(split(), mean=(pixels.mean(),), std=(pixels.std(),), batch_size=COUNT)
    images, _ = next(normal.in_order())
    assert abs(float(images.mean())) < 1e-5
    assert abs(float(images.std(correction=0)) - 1) < 1e-5


def test_an_epoch_can_be_replayed_alone() -> None:
    first = [epoch_of(loader(shift=1, flip=True), number)[0] for number in (1, 2)]
    alone = epoch_of(loader(shift=1, flip=True), 2)[0]
    assert torch.equal(first[1], alone)
    assert not torch.equal(first[0], alone)
    assert not torch.equal(epoch_of(loader(shift=1, flip=True, seed=1), 2)[0], alone)


@settings(max_examples=20, deadline=None)
@given(shift=st.integers(0, 3), flip=st.booleans(), seed=st.integers(0, 99))
def test_an_augmented_image_is_a_shifted_perhaps_mirrored_window(
    shift: int, flip: bool, seed: int
) -> None:
    images, labels = epoch_of(loader(shift=shift, flip=flip, seed=seed))
    for image, label in zip(images[:, 0].numpy(), labels):
        padded = np.pad(split().images[label, 0].astype(np.float32), shift)
        windows = [
            padded[y : y + HEIGHT, x : x + WIDTH]
            for y in range(2 * shift + 1)
            for x in range(2 * shift + 1)
        ]
        mirrored = [window[:, ::-1] for window in windows] if flip else []
        assert any(np.array_equal(image, window) for window in windows + mirrored)


def test_both_mirror_images_and_all_shifts_occur() -> None:
    turned = loader(batch_size=1, flip=True)
    first = [epoch_of(turned, n)[0][:, 0, 0] for n in range(3)]
    rising = torch.cat([(rows[:, 1] > rows[:, 0]) for rows in first])
    assert rising.any()
    assert not rising.all()


EVERYTHING = {
    "shift": 1,
    "flip": True,
    "policy": "randaugment",
    "erasing": 0.5,
    "mixup": 0.8,
    "cutmix": 1.0,
}


def coloured(count: int = 24) -> Split:
    pixels = np.random.default_rng(0).integers(0, 256, (count, 3, HEIGHT, WIDTH), dtype=np.uint8)
    return Split(pixels, np.arange(count) % 4)


def full_loader(rank: int = 0, world_size: int = 1, **changes: object) -> DeviceLoader:
    return DeviceLoader(
        coloured(),
        mean=(0.4, 0.5, 0.6),
        std=(0.2, 0.3, 0.2),
        batch_size=6,
        augmentation=Augmentation(**{**EVERYTHING, **changes}),
        seed=3,
        rank=rank,
        world_size=world_size,
    )


@pytest.mark.parametrize("changes", [{}, {"mixup": 0.0, "cutmix": 0.0}, {"policy": "none"}])
@pytest.mark.parametrize("world_size", [2, 3])
def test_the_parts_of_all_processes_are_the_batch_of_one(
    world_size: int, changes: dict[str, object]
) -> None:
    whole = list(full_loader(**changes).epoch(2))
    parts = [list(full_loader(rank, world_size, **changes).epoch(2)) for rank in range(world_size)]
    for batch, shared in zip(whole, zip(*parts)):
        for together, of_each in zip(batch, zip(*shared)):
            assert torch.equal(together, torch.cat(of_each))


@pytest.mark.parametrize("start", [0, 1, 3, 4])
def test_an_epoch_can_go_on_at_any_batch(start: int) -> None:
    whole = list(full_loader().epoch(2))
    rest = list(full_loader().epoch(2, start))
    assert len(rest) == 4 - start
    for one, again in zip(whole[start:], rest):
        assert torch.equal(one[0], again[0])
        assert torch.equal(one[1], again[1])


def test_batches_made_together_are_those_made_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DeviceLoader, "_at_once", 1)
    alone = list(full_loader().epoch(1))
    monkeypatch.setattr(DeviceLoader, "_at_once", 3)
    for one, again in zip(alone, full_loader().epoch(1), strict=True):
        assert torch.equal(one[0], again[0])
        assert torch.equal(one[1], again[1])


def test_a_gpu_makes_as_many_at_once_as_fit() -> None:
    loader, plain = full_loader(), full_loader(policy="none")
    assert plain._at_once == 1
    assert loader._at_once == device_loader.CACHED_VALUES // (6 * 3 * HEIGHT * WIDTH)
    loader.images = loader.images.to("meta")
    assert loader._at_once == device_loader.VALUES_AT_ONCE // (6 * 3 * HEIGHT * WIDTH)


def test_in_order_each_process_has_its_own_part() -> None:
    labels = [
        torch.cat([labels for _, labels in full_loader(rank, 5).in_order()]) for rank in range(5)
    ]
    assert torch.equal(torch.cat(labels), torch.from_numpy(coloured().labels))
    assert {len(part) for part in labels} == {4, 5}


def test_a_batch_that_cannot_be_divided_says_so() -> None:
    with pytest.raises(UsageError) as caught:
        next(full_loader(0, 4).epoch(1))
    assert str(caught.value) == (
        "a batch of 6 images cannot be divided over 4 processes; choose e.g. --set batch_size=8."
    )


def test_targets_are_shares_while_images_mix_and_numbers_afterwards() -> None:
    loader = full_loader(mixup_off_epoch=2)
    targets = next(loader.epoch(1))[1]
    assert targets.shape == (6, 4)
    torch.testing.assert_close(targets.sum(dim=1), torch.ones(6))
    assert next(loader.epoch(2))[1].dtype == torch.int64


def test_repeated_images_come_in_a_row_and_are_augmented_anew() -> None:
    loader = full_loader(repeats=3, mixup=0.0, cutmix=0.0, policy="none", erasing=0.0)
    loader.labels = torch.arange(24)
    images, labels = zip(*loader.epoch(1))
    numbers = torch.cat(labels).view(-1, 3)
    assert (numbers == numbers[:, :1]).all()
    assert len(set(numbers[:, 0].tolist())) == 8
    assert not torch.equal(images[0][0], images[0][1])


def test_under_a_policy_black_moves_in() -> None:
    black = Split(np.full((4, 3, HEIGHT, WIDTH), 255, dtype=np.uint8), np.zeros(4, np.int64))
    loader = DeviceLoader(
        black,
        mean=(0.5,) * 3,
        std=(0.5,) * 3,
        batch_size=4,
        augmentation=Augmentation(shift=2, policy="randaugment", magnitude=0),
    )
    values = {float(value) for n in range(1, 9) for value in next(loader.epoch(n))[0].unique()}
    assert -1.0 in values
    assert 0.0 not in values
