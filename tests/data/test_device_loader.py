from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pe_inspect.data import Split
from pe_inspect.data.device_loader import Augmentation, DeviceLoader

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
