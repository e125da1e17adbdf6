"""What every dataset becomes: two splits of uint8 images with class numbers, held or on disk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

import numpy as np

from pe_inspect.arrays import Int, Shaped
from pe_inspect.errors import UsageError

__all__ = ["Dataset", "FileSplit", "Split"]

IMAGENET_MEAN: Final = (0.485, 0.456, 0.406)
IMAGENET_STD: Final = (0.229, 0.224, 0.225)


@dataclass(frozen=True, eq=False)
class Split:
    """Images with their classes.

    Attributes:
        images: (N, channels, H, W) uint8.
        labels: (N,) int64 class numbers.
    """

    images: Shaped[np.ndarray, "images channels height width"]
    labels: Int[np.ndarray, " labels"]

    def __post_init__(self) -> None:
        if self.images.ndim != 4 or self.images.dtype != np.uint8:
            raise ValueError(
                "images must be uint8 (N, channels, H, W), not "
                f"{self.images.dtype} {self.images.shape}"
            )
        if self.labels.shape != self.images.shape[:1]:
            raise ValueError(f"{len(self.images)} images, but labels of {self.labels.shape}")

    @property
    def img_size(self) -> tuple[int, int]:
        """(H, W) pixels of every image."""
        height, width = self.images.shape[2:]
        return int(height), int(width)

    def __len__(self) -> int:
        return len(self.images)


class FileSplit(Split):
    """Images that stay on the disk; a loader reads them as they are needed.

    `images` reads all of them, for those who want an array whatever it takes.

    Args:
        files: one image each.
        labels: (N,) int64 class numbers.
        img_size: (H, W) that they are resized and cropped to.
        crop_pct: the share of an image's shorter side that `images` keeps.
    """

    def __init__(
        self,
        files: Sequence[Path],
        labels: Int[np.ndarray, " labels"],
        img_size: tuple[int, int],
        crop_pct: float = 1.0,
    ) -> None:
        kept = {"files": tuple(files), "labels": labels, "_size": img_size, "crop_pct": crop_pct}
        for name, value in kept.items():
            object.__setattr__(self, name, value)

    files: tuple[Path, ...]
    _size: tuple[int, int]
    crop_pct: float

    @property
    def img_size(self) -> tuple[int, int]:
        """(H, W) pixels that every image becomes."""
        return self._size

    @cached_property
    def images(self) -> Shaped[np.ndarray, "images 3 height width"]:
        """(N, 3, H, W) uint8: the middle of every image.

        Raises:
            UsageError: one of them cannot be read; it is named.
        """
        from pe_inspect.data.decoding import UnreadableImage, middle

        try:
            return np.stack([middle(file, self.img_size, self.crop_pct) for file in self.files])
        except UnreadableImage as error:
            raise UsageError(f"{error}. Replace it or remove it.") from error

    def __len__(self) -> int:
        return len(self.files)


@dataclass(frozen=True, eq=False)
class Dataset:
    """A training and a test split of one set of images.

    Attributes:
        name: as it was asked for, e.g. `"digits"`, `"imagefolder:flowers"`.
        label: how numbers measured on it are labelled, e.g. `"CIFAR-10 (JPEG copy)"`.
        train: what a model learns from.
        test: what it is measured on.
        classes: the class names, in the order of the labels.
        notes: what was decided while reading: images skipped, resized, read from the disk.
        test_name: what the set itself calls the images of `test`: `"test"`, or `"val"`.
    """

    name: str
    label: str
    train: Split
    test: Split
    classes: tuple[str, ...]
    notes: tuple[str, ...] = ()
    test_name: str = "test"

    @property
    def img_size(self) -> tuple[int, int]:
        """(H, W) pixels of every image."""
        return self.train.img_size

    @property
    def in_chans(self) -> int:
        """Colour channels."""
        if isinstance(self.train, FileSplit):
            return 3
        return int(self.train.images.shape[1])

    @cached_property
    def mean(self) -> tuple[float, ...]:
        """The training images' mean a channel, on [0, 1]; ImageNet's for images on the disk."""
        if isinstance(self.train, FileSplit):
            return IMAGENET_MEAN
        return tuple(float(m) / 255 for m, _ in self._moments)

    @cached_property
    def std(self) -> tuple[float, ...]:
        """Their standard deviation a channel, likewise; 1 where it is zero."""
        if isinstance(self.train, FileSplit):
            return IMAGENET_STD
        return tuple(float(np.sqrt(v)) / 255 or 1.0 for _, v in self._moments)

    @cached_property
    def _moments(self) -> list[tuple[float, float]]:
        """Mean and variance a channel, from exact counts of the 256 values."""
        return [_mean_and_variance(channel) for channel in np.moveaxis(self.train.images, 1, 0)]


def _mean_and_variance(channel: np.ndarray) -> tuple[float, float]:
    counts = np.bincount(channel.reshape(-1), minlength=256)
    values = np.arange(256)
    mean = float(counts @ values / counts.sum())
    return mean, float(counts @ (values - mean) ** 2 / counts.sum())
