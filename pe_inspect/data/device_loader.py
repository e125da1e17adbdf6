"""Batches of a small set that lives on the device as uint8 and is augmented there.

No worker processes, no image leaves the device: one gather a batch crops, shifts and flips.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import torch
from torch.nn import functional

from pe_inspect._typing import Float, Shaped
from pe_inspect.data.dataset import Split

__all__ = ["Augmentation", "DeviceLoader"]

EPOCH_STRIDE: Final = 1_000_003  # neighbouring seeds share no epoch


@dataclass(frozen=True)
class Augmentation:
    """What happens to a training image, each time anew.

    Attributes:
        shift: the image is moved by up to this many pixels each way, the mean colour moving in
            (the same as padding by `shift` and cropping at random).
        flip: half of the images are mirrored left to right.
    """

    shift: int = 0
    flip: bool = False


class DeviceLoader:
    """Normalised float batches of one split, in an order that the seed and the epoch fix.

    Args:
        split: the images; they are copied to `device` once, as uint8.
        mean: a channel's mean on [0, 1]; it becomes 0.
        std: a channel's standard deviation on [0, 1]; it becomes 1.
        batch_size: images a batch.
        device: where the images live and the work is done.
        augmentation: applied to training epochs only.
        seed: of the order and the augmentation. Epochs differ, and each depends on nothing but
            the seed and its own number, so any of them can be replayed alone.
    """

    def __init__(
        self,
        split: Split,
        *,
        mean: tuple[float, ...],
        std: tuple[float, ...],
        batch_size: int,
        device: torch.device | str = "cpu",
        augmentation: Augmentation | None = None,
        seed: int = 0,
    ) -> None:
        self.images = torch.from_numpy(split.images).to(device)
        self.labels = torch.from_numpy(split.labels).to(device)
        self.batch_size = batch_size
        self.augmentation = augmentation or Augmentation()
        self.seed = seed
        self._mean = torch.tensor(mean, device=device).view(1, -1, 1, 1) * 255
        self._scale = 1 / (torch.tensor(std, device=device).view(1, -1, 1, 1) * 255)

    @property
    def batches_per_epoch(self) -> int:
        """Full batches of a training epoch; a set smaller than a batch makes one."""
        return max(1, len(self.images) // self.batch_size)

    def epoch(self, number: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Yield the augmented batches of training epoch `number`, shuffled, the rest left out."""
        random = self._random(number)
        order = torch.randperm(len(self.images), generator=random, device=random.device)
        for batch in range(self.batches_per_epoch):
            chosen = order[batch * self.batch_size :][: self.batch_size]
            images = self._normalised(self.images[chosen])
            yield self._augmented(images, random), self.labels[chosen]

    def in_order(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Yield every image once, in the split's order, not augmented."""
        for start in range(0, len(self.labels), self.batch_size):
            batch = slice(start, start + self.batch_size)
            yield self._normalised(self.images[batch]), self.labels[batch]

    def _random(self, epoch: int) -> torch.Generator:
        random = torch.Generator(device=self.images.device)
        return random.manual_seed(self.seed * EPOCH_STRIDE + epoch)

    def _normalised(
        self, images: Shaped[torch.Tensor, "batch channels height width"]
    ) -> Float[torch.Tensor, "batch channels height width"]:
        return (images - self._mean) * self._scale

    def _augmented(self, images: torch.Tensor, random: torch.Generator) -> torch.Tensor:
        """Crop a shifted, perhaps mirrored window out of each padded image, in one gather."""
        shift = self.augmentation.shift
        if not shift and not self.augmentation.flip:
            return images
        count, channels, height, width = images.shape
        rows = self._window(height, count, random)
        columns = self._window(width, count, random)
        if self.augmentation.flip:
            mirrored = torch.rand(count, 1, generator=random, device=random.device) < 0.5
            columns = torch.where(mirrored, columns.flip(1), columns)
        padded = functional.pad(images, (shift, shift, shift, shift))
        image = torch.arange(count, device=images.device).view(-1, 1, 1, 1)
        channel = torch.arange(channels, device=images.device).view(1, -1, 1, 1)
        return padded[image, channel, rows[:, None, :, None], columns[:, None, None, :]]

    def _window(self, size: int, count: int, random: torch.Generator) -> torch.Tensor:
        """Return, for each image, which rows (or columns) of the padded one are kept."""
        most = 2 * self.augmentation.shift + 1
        start = torch.randint(most, (count, 1), generator=random, device=random.device)
        return start + torch.arange(size, device=random.device)
