"""Batches of a set that is too large to hold.

Worker processes decode and crop, the device does the rest. The order and every draw depend on the
seed, the epoch and the batch alone, so that a run can be resumed at any batch, with any number of
workers.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from pe_inspect.data.batches import (
    EPOCH_STRIDE,
    Batch,
    BatchLoader,
    Purpose,
    host_random,
    repeated,
)
from pe_inspect.data.dataset import FileSplit, Split
from pe_inspect.data.decoding import (
    CROP_PCT,
    UnreadableImage,
    central,
    decoded,
    random_crop,
)
from pe_inspect.errors import UsageError

__all__ = ["StreamLoader"]

MOST_WORKERS: Final = 12
MOST_BROKEN: Final = 32  # neighbours that are tried in the place of an image that cannot be read


class StreamLoader(BatchLoader):
    """Batches of images on the disk; cropped at random in training, so `shift` is no part of it.

    In training an image that cannot be read is replaced by the next one that can; in evaluation
    it is left out. Either is noted, or ends the run where `strict` is set.

    Attributes:
        workers: processes that decode; those that this machine has cores for unless set.
        strict: stop at an image that cannot be read.
        crop_pct: the share of an evaluated image's shorter side that is kept.
    """

    strict = False
    crop_pct = CROP_PCT

    def _hold(self, split: Split, device: torch.device) -> None:
        if not isinstance(split, FileSplit):
            raise TypeError("a StreamLoader reads a FileSplit; a DeviceLoader holds arrays")
        self.split, self.device = split, device
        self.labels = self.labels.cpu()
        self.workers = _workers(self.share.world_size)

    def epoch(self, number: int, start: int = 0) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Yield the batches of an epoch; see `BatchLoader.epoch`.

        Raises:
            UsageError: an image cannot be read, and the loader is strict.
        """
        random = torch.Generator().manual_seed(self.seed * EPOCH_STRIDE + number)
        repeats = self.augmentation.repeats
        order = repeated(torch.randperm(len(self.split), generator=random), repeats).numpy()
        batches = [self._batch(number, batch) for batch in range(start, self.batches_per_epoch)]
        wanted = [self._wanted(batch, order) for batch in batches]
        crop = _Training(self.split, self.augmentation.crop_scale, self.seed, number)
        for batch, (images, labels) in zip(batches, self._read(crop, wanted)):
            coloured = self._batches.coloured(self._flipped(images, batch), [batch])
            yield from self._batches.finished(coloured, labels, [batch])

    def in_order(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Yield this process's part of the split once, in its order: the middle of each image."""
        first, end = self.share.of_split(len(self.split))
        wanted = [
            [(image, image) for image in range(start, min(start + self.batch_size, end))]
            for start in range(first, end, self.batch_size)
        ]
        for images, labels in self._read(_Evaluation(self.split, self.crop_pct), wanted):
            yield self._batches.normalised(images), labels

    def _batch(self, epoch: int, number: int) -> Batch:
        count = min(self.batch_size, len(self.split))
        mixes = self.augmentation.mixes(epoch)
        return Batch(epoch, number, count, self.share.of_batch(count, with_partner=mixes))

    def _wanted(self, batch: Batch, order: np.ndarray) -> list[tuple[int, int]]:
        """Return (place in the epoch, image) of each image that this process handles."""
        places = batch.number * self.batch_size + batch.positions
        return [(int(place), int(order[place])) for place in places]

    def _flipped(self, images: torch.Tensor, batch: Batch) -> torch.Tensor:
        if not self.augmentation.flip:
            return images
        random = host_random(self.seed, batch.epoch, batch.number, Purpose.FLIP)
        mirrored = torch.from_numpy((random.random(batch.count) < 0.5)[batch.positions])
        return torch.where(mirrored.to(images.device).view(-1, 1, 1, 1), images.flip(3), images)

    def _read(
        self, images: _Decoding, wanted: list[list[tuple[int, int]]]
    ) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Yield the uint8 images and the labels of each batch, on the device."""
        loader = DataLoader(
            images,
            batch_sampler=wanted,
            num_workers=self.workers,
            collate_fn=_collated,
            worker_init_fn=_deaf,
            pin_memory=self.device.type == "cuda",
        )
        for pixels, labels, broken, failed in loader:
            for file, reason in broken:
                self._skip(UnreadableImage(Path(file), reason))
            if failed:
                raise UsageError(failed)
            if len(labels):
                yield (
                    pixels.to(self.device, non_blocking=True),
                    labels.to(self.device, non_blocking=True),
                )

    def _skip(self, error: UnreadableImage) -> None:
        if self.strict:
            raise UsageError(f"{error}. Replace it or remove it.")
        note = f"{error}; it was left out"
        if note not in self.notes:
            self.notes.append(note)


@dataclass
class _Read:
    """What a worker process made of one image; what it cannot go on from is for the run to raise.

    Attributes:
        pixels: (channels, H, W) uint8; none where there is nothing to show.
        label: the class number of the image that was read.
        broken: the file and the reason of each image that could not be read.
        failed: why the run must stop, if it must.
    """

    pixels: np.ndarray | None = None
    label: int = 0
    broken: list[tuple[str, str]] = field(default_factory=list)
    failed: str = ""


@dataclass
class _Decoding(TorchDataset[_Read]):
    """Reads one image in a worker process."""

    split: FileSplit

    def __getitem__(self, wanted: tuple[int, int]) -> _Read:
        raise NotImplementedError

    def _answer(self, pixels: Any, image: int, broken: list[tuple[str, str]]) -> _Read:
        return _Read(np.array(pixels).transpose(2, 0, 1), int(self.split.labels[image]), broken)


@dataclass
class _Training(_Decoding):
    """A random crop, drawn for the image's place in the epoch."""

    smallest: float
    seed: int
    epoch: int

    def __getitem__(self, wanted: tuple[int, int]) -> _Read:
        place, image = wanted
        random = host_random(self.seed, self.epoch, place, Purpose.CROP)
        broken: list[tuple[str, str]] = []
        for step in range(MOST_BROKEN):
            tried = (image + step) % len(self.split)
            try:
                whole = decoded(self.split.files[tried])
            except UnreadableImage as error:
                broken.append((str(error.file), error.reason))
                continue
            pixels = random_crop(whole, self.split.img_size, self.smallest, random)
            return self._answer(pixels, tried, broken)
        return _Read(broken=broken, failed=_too_many(broken))


@dataclass
class _Evaluation(_Decoding):
    """The middle of an image, or none where it cannot be read."""

    share: float

    def __getitem__(self, wanted: tuple[int, int]) -> _Read:
        image = wanted[1]
        try:
            whole = decoded(self.split.files[image])
        except UnreadableImage as error:
            return _Read(broken=[(str(error.file), error.reason)])
        return self._answer(central(whole, self.split.img_size, self.share), image, [])


def _too_many(broken: list[tuple[str, str]]) -> str:
    file, reason = broken[-1]
    return (
        f"{MOST_BROKEN} images in a row cannot be read, the last {file} ({reason}). "
        "Replace them or remove them."
    )


def _collated(
    read: list[_Read],
) -> tuple[torch.Tensor, torch.Tensor, list[tuple[str, str]], str]:
    """Return the images that could be read as one batch, the names of the others, and a failure."""
    held = [(each.pixels, each.label) for each in read if each.pixels is not None]
    images = np.stack([pixels for pixels, _ in held]) if held else np.empty((0,), np.uint8)
    labels = torch.tensor([label for _, label in held], dtype=torch.int64)
    broken = [name for each in read for name in each.broken]
    failed = next((each.failed for each in read if each.failed), "")
    return torch.from_numpy(images), labels, broken, failed


def _deaf(_worker: int) -> None:
    """Leave a terminal's Ctrl-C and a scheduler's SIGTERM to the run, which ends its workers."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "sigwaitinfo"):  # not on macOS, where any SIGTERM ends a worker
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()


def _end_with(parent: int) -> None:
    """Wait for the SIGTERM by which the run ends its workers; everybody else's goes unheard."""
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != parent:
        pass
    os._exit(0)


def _workers(world_size: int) -> int:
    """Return the worker processes that each of several processes on this machine may have."""
    asks = getattr(os, "sched_getaffinity", None)  # not on every system
    cores = len(asks(0)) if asks else os.cpu_count() or 1
    return max(1, min(MOST_WORKERS, cores // world_size))
