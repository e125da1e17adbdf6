"""What every dataset becomes: two splits of uint8 images with class numbers."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

import numpy as np

from pe_inspect._typing import Int, Shaped
from pe_inspect.errors import UsageError

__all__ = ["DEFAULT_ROOT", "Dataset", "Split", "load"]

DEFAULT_ROOT: Final = Path("data")


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

    def __len__(self) -> int:
        return len(self.images)


@dataclass(frozen=True, eq=False)
class Dataset:
    """A training and a test split of one set of images.

    Attributes:
        name: as it was asked for, e.g. `"digits"`, `"imagefolder:flowers"`.
        label: how numbers measured on it are labelled, e.g. `"CIFAR-10 (JPEG copy)"`.
        train: what a model learns from.
        test: what it is measured on.
        classes: the class names, in the order of the labels.
    """

    name: str
    label: str
    train: Split
    test: Split
    classes: tuple[str, ...]

    @property
    def img_size(self) -> tuple[int, int]:
        """(H, W) pixels of every image."""
        height, width = self.train.images.shape[2:]
        return int(height), int(width)

    @property
    def in_chans(self) -> int:
        """Colour channels."""
        return int(self.train.images.shape[1])

    @cached_property
    def mean(self) -> tuple[float, ...]:
        """The training images' mean a channel, on [0, 1]."""
        return tuple(float(m) / 255 for m, _ in self._moments)

    @cached_property
    def std(self) -> tuple[float, ...]:
        """The training images' standard deviation a channel, on [0, 1]; 1 where it is zero."""
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


def load(name: str, *, root: str | Path | None = None) -> Dataset:
    """Read a dataset by name.

    Args:
        name: a registered name, with an argument after a colon where it takes one:
            `"digits"`, `"cifar10-jpeg"`, `"imagefolder:PATH"`.
        root: where downloaded sets lie; `data/` of the working folder unless given.

    Raises:
        UsageError: no such dataset, it is not on this disk (the message says how to get it), or
            its images cannot be used.
    """
    from pe_inspect.data.datasets import datasets

    kind, colon, argument = name.partition(":")
    reader = datasets[kind]
    if colon and not argument:
        raise UsageError(f"{name!r} has nothing after the colon; e.g. imagefolder:path/to/folder.")
    return reader(argument, Path(root) if root is not None else DEFAULT_ROOT)
