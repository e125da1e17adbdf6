"""Batches of a small set that lives on the device as uint8 and is augmented there.

No worker processes, no image leaves the device: one gather a batch crops, shifts and flips.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import torch
from torch.nn import functional

from pe_inspect.data.augmentation import Augmentation
from pe_inspect.data.batches import EPOCH_STRIDE, Batch, BatchLoader, repeated
from pe_inspect.data.dataset import Split

__all__ = ["Augmentation", "DeviceLoader"]

VALUES_AT_ONCE: Final = 2**25  # of several batches that a GPU augments together: 128 MiB of floats
CACHED_VALUES: Final = 2**21  # likewise on a CPU, under a policy


class DeviceLoader(BatchLoader):
    """Batches of images that are copied to the device once, as uint8, and stay there."""

    def _hold(self, split: Split, device: torch.device) -> None:
        self.images = torch.from_numpy(split.images).to(device)

    def epoch(self, number: int, start: int = 0) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Yield the batches of an epoch; see `BatchLoader.epoch`."""
        waiting: list[_Drawn] = []
        for drawn in self._draw(number, start):
            waiting.append(drawn)
            if len(waiting) == self._at_once:
                yield from self._make(waiting)
                waiting = []
        if waiting:
            yield from self._make(waiting)

    def in_order(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Yield this process's part of the split once, in its order, not augmented."""
        first, end = self.share.of_split(len(self.labels))
        for start in range(first, end, self.batch_size):
            batch = slice(start, min(start + self.batch_size, end))
            yield self._batches.normalised(self.images[batch]), self.labels[batch]

    @property
    def _at_once(self) -> int:
        """How many batches are augmented together: starting the work costs more than doing it."""
        is_on_cpu = self.images.device.type == "cpu"
        if is_on_cpu and not self.augmentation.recolours:
            return 1
        values = CACHED_VALUES if is_on_cpu else VALUES_AT_ONCE
        return max(1, values // (self.batch_size * self.images[0].numel()))

    def _draw(self, number: int, start: int) -> Iterator[_Drawn]:
        """Draw an epoch's order and windows, from its beginning: the draws form one stream."""
        random = torch.Generator(device=self.images.device)
        random.manual_seed(self.seed * EPOCH_STRIDE + number)
        order = torch.randperm(len(self.images), generator=random, device=random.device)
        order = repeated(order, self.augmentation.repeats)
        mixes = self.augmentation.mixes(number)
        for batch in range(self.batches_per_epoch):
            chosen = order[batch * self.batch_size :][: self.batch_size]
            window = self._draw_window(len(chosen), random)
            if batch >= start:
                positions = self.share.of_batch(len(chosen), with_partner=mixes)
                where = torch.from_numpy(positions).to(chosen.device, non_blocking=True)
                about = Batch(number, batch, len(chosen), positions)
                yield _Drawn(about, chosen[where], [axis[where] for axis in window])

    def _make(self, drawn: list[_Drawn]) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Make several batches at once; they come out as they would one by one."""
        batches = [each.batch for each in drawn]
        chosen = torch.cat([each.chosen for each in drawn])
        window = [torch.cat(axis) for axis in zip(*(each.window for each in drawn))]
        images, labels = self.images[chosen], self.labels[chosen]
        if self.augmentation.recolours:
            images = self._batches.coloured(self._windowed(images, window), batches)
        else:
            images = self._batches.normalised(images)
            images = self._windowed(images, window)
        yield from self._batches.finished(images, labels, batches)

    def _draw_window(self, count: int, random: torch.Generator) -> list[torch.Tensor]:
        """Draw the rows and columns of the padded images that are kept, if they move at all."""
        if not self.augmentation.shift and not self.augmentation.flip:
            return []
        height, width = self.images.shape[2:]
        rows = self._span(height, count, random)
        columns = self._span(width, count, random)
        if self.augmentation.flip:
            mirrored = torch.rand(count, 1, generator=random, device=random.device) < 0.5
            columns = torch.where(mirrored, columns.flip(1), columns)
        return [rows, columns]

    def _span(self, size: int, count: int, random: torch.Generator) -> torch.Tensor:
        """Return, for each image, which rows (or columns) of the padded one are kept."""
        most = 2 * self.augmentation.shift + 1
        start = torch.randint(most, (count, 1), generator=random, device=random.device)
        return start + torch.arange(size, device=random.device)

    def _windowed(self, images: torch.Tensor, window: list[torch.Tensor]) -> torch.Tensor:
        """Crop a shifted, perhaps mirrored window out of each padded image, in one gather."""
        if not window:
            return images
        rows, columns = window
        shift = self.augmentation.shift
        padded = functional.pad(images, (shift, shift, shift, shift))
        image = torch.arange(len(images), device=images.device).view(-1, 1, 1, 1)
        channel = torch.arange(images.shape[1], device=images.device).view(1, -1, 1, 1)
        return padded[image, channel, rows[:, None, :, None], columns[:, None, None, :]]


@dataclass(frozen=True)
class _Drawn:
    """A batch that is drawn and not yet made: which images, and which window of each."""

    batch: Batch
    chosen: torch.Tensor
    window: list[torch.Tensor]
