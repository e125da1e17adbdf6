"""What every loader does to the batches of an epoch, wherever their images come from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch

from pe_inspect.arrays import Float, Shaped
from pe_inspect.data.augmentation import Augmentation
from pe_inspect.data.dataset import Split
from pe_inspect.data.mixing import Mix, draw_boxes, draw_mix, erase, mix_images, mix_targets
from pe_inspect.data.policies import PolicyDraws, apply_policy, draw_policy
from pe_inspect.errors import UsageError

__all__ = [
    "EPOCH_STRIDE",
    "Batch",
    "BatchLoader",
    "Batches",
    "Purpose",
    "Share",
    "host_random",
    "repeated",
]

EPOCH_STRIDE: Final = 1_000_003  # neighbouring seeds share no epoch


class Purpose:
    """Which stream of random numbers: one more kind of draw changes no other."""

    POLICY: Final = 0
    ERASING: Final = 1
    MIX: Final = 2
    CROP: Final = 3
    FLIP: Final = 4
    NOISE: Final = 5


def host_random(seed: int, epoch: int, batch: int, purpose: int) -> np.random.Generator:
    """Return random numbers that depend on nothing else, so that any batch can be made alone."""
    return np.random.default_rng((seed, epoch, batch, purpose))


def repeated(order: torch.Tensor, times: int) -> torch.Tensor:
    """Return an order in which each image comes `times` times in a row, cut to its length."""
    return order.repeat_interleave(times)[: len(order)] if times > 1 else order


@dataclass(frozen=True)
class Share:
    """Which part of every batch one process makes; the parts in order are the batch.

    Attributes:
        rank: this process, from 0.
        world_size: how many there are.

    Raises:
        UsageError: a batch cannot be divided evenly.
    """

    rank: int = 0
    world_size: int = 1

    def of_batch(self, count: int, *, with_partner: bool) -> np.ndarray:
        """Return the positions in a batch of `count`; the first one's partner ahead of them."""
        if count % self.world_size:
            fitting = max(1, round(count / self.world_size)) * self.world_size
            raise UsageError(
                f"a batch of {count} images cannot be divided over {self.world_size} processes; "
                f"choose e.g. --set batch_size={fitting}."
            )
        each = count // self.world_size
        first = self.rank * each - with_partner
        return np.arange(first, (self.rank + 1) * each) % count

    def of_split(self, count: int) -> tuple[int, int]:
        """Return the first and the last but one image of a split to be read once over all."""
        return (
            self.rank * count // self.world_size,
            (self.rank + 1) * count // self.world_size,
        )


@dataclass(frozen=True)
class Batch:
    """One batch on its way.

    Attributes:
        epoch: from 1.
        number: of the batch in its epoch, from 0.
        count: its images, over all processes.
        positions: the ones that this process handles.
    """

    epoch: int
    number: int
    count: int
    positions: np.ndarray


class Batches:
    """Turns raw images into what a model is handed.

    Args:
        mean: a channel's mean on [0, 1]; it becomes 0.
        std: a channel's standard deviation on [0, 1]; it becomes 1.
        size: (H, W) of the images.
        num_classes: of soft targets.
        device: where the work is done.
        augmentation: of training epochs.
        seed: of every draw.
    """

    def __init__(
        self,
        *,
        mean: Sequence[float],
        std: Sequence[float],
        size: tuple[int, int],
        num_classes: int,
        device: torch.device | str,
        augmentation: Augmentation,
        seed: int,
    ) -> None:
        self.size, self.num_classes = size, num_classes
        self.augmentation, self.seed = augmentation, seed
        self._mean = torch.tensor(mean, device=device).view(1, -1, 1, 1) * 255
        self._scale = 1 / (torch.tensor(std, device=device).view(1, -1, 1, 1) * 255)

    def normalised(
        self, images: Shaped[torch.Tensor, "batch channels height width"]
    ) -> Float[torch.Tensor, "batch channels height width"]:
        """Return floats whose mean a channel is 0 and standard deviation 1 over the set."""
        return (images - self._mean) * self._scale

    def coloured(self, images: torch.Tensor, batches: Sequence[Batch]) -> torch.Tensor:
        """Apply the policy to the uint8 images of several batches at once, and normalise them."""
        if self.augmentation.recolours:
            draws = [self._draw_policy(batch).at(batch.positions) for batch in batches]
            images = apply_policy(images, PolicyDraws.joined(draws), *self._moved_in)
        return self.normalised(images)

    def finished(
        self, images: torch.Tensor, labels: torch.Tensor, batches: Sequence[Batch]
    ) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Erase, cut into batches, mix: yields images with class numbers or shares of classes."""
        if self.augmentation.erasing:
            boxes = [self._draw_boxes(batch)[batch.positions] for batch in batches]
            images = erase(images, np.concatenate(boxes), self._noise(batches))
        lengths = [len(batch.positions) for batch in batches]
        for batch, some, of in zip(
            batches, torch.split(images, lengths), torch.split(labels, lengths)
        ):
            if self.augmentation.mixes(batch.epoch):
                mix = self._draw_mix(batch)
                yield mix_images(some, mix), mix_targets(of, self.num_classes, mix)
            else:
                yield some, of

    def _draw_policy(self, batch: Batch) -> PolicyDraws:
        random = self._random(batch, Purpose.POLICY)
        return draw_policy(self.augmentation, batch.count, self.size, random)

    @property
    def _moved_in(self) -> tuple[str, torch.Tensor | float]:
        """How a policy moves pixels, and which colour comes in: as its library does."""
        is_timms = self.augmentation.policy == "randaugment-timm"
        return ("bicubic", self._mean.round()) if is_timms else ("nearest", 0.0)

    def _noise(self, batches: Sequence[Batch]) -> torch.Tensor | float:
        """What erased rectangles become: one image of noise a batch, or the mean colour."""
        if self.augmentation.erasing_fill == "mean":
            return 0.0
        shape = (self._mean.shape[1], *self.size)
        tiles = [self._random(b, Purpose.NOISE).standard_normal(shape, np.float32) for b in batches]
        of_image = np.repeat(np.arange(len(batches)), [len(b.positions) for b in batches])
        return torch.from_numpy(np.stack(tiles)).to(self._mean.device)[torch.from_numpy(of_image)]

    def _draw_boxes(self, batch: Batch) -> np.ndarray:
        random = self._random(batch, Purpose.ERASING)
        return draw_boxes(self.augmentation.erasing, batch.count, self.size, random)

    def _draw_mix(self, batch: Batch) -> Mix:
        return draw_mix(self.augmentation, self.size, self._random(batch, Purpose.MIX))

    def _random(self, batch: Batch, purpose: int) -> np.random.Generator:
        return host_random(self.seed, batch.epoch, batch.number, purpose)


class BatchLoader:
    """Normalised float batches of one split, in an order that the seed and the epoch fix.

    Args:
        split: the images.
        mean: a channel's mean on [0, 1]; it becomes 0.
        std: a channel's standard deviation on [0, 1]; it becomes 1.
        batch_size: images a batch, over all processes.
        device: where the batches are to be, and the work is done.
        augmentation: applied to training epochs only.
        seed: of the order and the augmentation. Epochs differ, and each depends on nothing but
            the seed and its own number, so any of them can be replayed alone.
        num_classes: of soft targets; as many as the split has unless given.
        rank: of this process, which makes its part of every batch: the parts in the order of
            the ranks are the batch that one process alone would make.
        world_size: how many processes there are.

    Attributes:
        labels: (N,) class numbers of the whole split.
        notes: what was decided on the way, e.g. images left out.
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
        num_classes: int = 0,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self.labels = torch.from_numpy(split.labels).to(device)
        self.batch_size = batch_size
        self.augmentation = augmentation or Augmentation()
        self.seed = seed
        self.share = Share(rank, world_size)
        self.notes: list[str] = []
        self._batches = Batches(
            mean=mean,
            std=std,
            size=split.img_size,
            num_classes=num_classes or int(split.labels.max(initial=0)) + 1,
            device=device,
            augmentation=self.augmentation,
            seed=seed,
        )
        self._hold(split, torch.device(device))

    def _hold(self, split: Split, device: torch.device) -> None:
        """Keep what this kind of loader reads from."""
        raise NotImplementedError(f"{type(self).__name__} holds nothing")

    @property
    def batches_per_epoch(self) -> int:
        """Full batches of a training epoch; a set smaller than a batch makes one."""
        return max(1, len(self.labels) // self.batch_size)

    def epoch(self, number: int, start: int = 0) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Yield the augmented batches of a training epoch, shuffled, the rest left out.

        Args:
            number: the epoch, from 1.
            start: the first batch; the ones ahead of it are not made.

        Yields:
            Images (N, C, H, W), and their class numbers (N,), or, under mixup and CutMix, their
            shares of the classes (N, classes).

        Raises:
            UsageError: a batch cannot be divided over the processes.
        """
        raise NotImplementedError(f"{type(self).__name__} yields no batches")

    def in_order(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Yield this process's part of the split once, in its order, not augmented."""
        raise NotImplementedError(f"{type(self).__name__} yields no images")
