"""Test images of a dataset, resized and normalised, batch by batch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from torch.nn import functional

from pe_inspect._typing import Float, Int
from pe_inspect.analysis._target_grid import available_memory, shown
from pe_inspect.data import Split
from pe_inspect.data.dataset import FileSplit
from pe_inspect.data.decoding import CROP_PCT
from pe_inspect.errors import UsageError

__all__ = ["Images", "chosen"]

BYTES: Final = 4
COPIES: Final = 3  # of a batch at once: resized, clamped, normalised


@dataclass(frozen=True, eq=False)
class Images:
    """The images to evaluate on.

    Attributes:
        split: the images with their classes: held as uint8, or files.
        mean: a channel's mean on [0, 1]; it becomes 0.
        std: a channel's standard deviation on [0, 1]; it becomes 1.
        batch_size: images a batch.
        seed: of the permutations of patches.
        device: where batches go.
        crop_pct: the share of a file's shorter side that is evaluated.
    """

    split: Split
    mean: tuple[float, ...]
    std: tuple[float, ...]
    batch_size: int
    seed: int
    device: torch.device
    crop_pct: float = CROP_PCT

    def __len__(self) -> int:
        return len(self.split)

    @property
    def are_files(self) -> bool:
        """Whether every size is decoded from the files anew."""
        return isinstance(self.split, FileSplit)

    def refuse_if_too_large(self, res: tuple[int, int]) -> None:
        """Stop before a size of which one batch takes more than half of the memory that is free.

        Raises:
            UsageError: with the bytes that its images alone would take, and the bound.
        """
        count, bound = min(self.batch_size, len(self)), available_memory() // 2
        needed = BYTES * COPIES * count * len(self.mean) * res[0] * res[1]
        if needed > bound:
            raise UsageError(
                f"A batch of {count} images at --res {shown(res)} would take "
                f"{needed / 2**30:.1f} GiB of memory; the bound is {bound / 2**30:.1f} GiB, half "
                "of what is free. Pass a smaller --res or --batch-size."
            )

    def batches(
        self, res: tuple[int, int], permuted: tuple[int, int] | None = None
    ) -> Iterator[tuple[Float[torch.Tensor, "batch channels height width"], torch.Tensor]]:
        """Yield normalised images of one size, in the split's order, with their classes.

        Args:
            res: (height, width); files are resized and cropped to it, held images are resized by
                bicubic interpolation, antialiased, from uint8.
            permuted: (height, width) of patches that trade places, in each image anew.
        """
        count = (res[0] // permuted[0]) * (res[1] // permuted[1]) if permuted else 0
        orders = self._orders(count)
        for start in range(0, len(self), self.batch_size):
            batch = slice(start, start + self.batch_size)
            images = self._normalised(_resized(self._raw(batch, res), res))
            if permuted:
                images = permute_patches(images, permuted, orders[batch].to(self.device))
            yield images, torch.from_numpy(self.split.labels[batch]).to(self.device)

    def _raw(self, batch: slice, res: tuple[int, int]) -> torch.Tensor:
        """Return images from 0 to 255."""
        split = self.split
        if isinstance(split, FileSplit):
            files, labels = split.files[batch], split.labels[batch]
            split, batch = FileSplit(files, labels, res, self.crop_pct), slice(None)
        return torch.from_numpy(split.images[batch]).to(self.device).float()

    def _orders(self, patches: int) -> Int[torch.Tensor, "images patches"]:
        """One permutation an image, which the batch size does not change."""
        random = torch.Generator().manual_seed(self.seed)
        return torch.rand(len(self), patches, generator=random).argsort(dim=1)

    def _normalised(self, images: torch.Tensor) -> torch.Tensor:
        mean, std = (
            torch.tensor(each, device=self.device).view(1, -1, 1, 1) * 255
            for each in (self.mean, self.std)
        )
        return (images - mean) / std


def _resized(images: torch.Tensor, res: tuple[int, int]) -> torch.Tensor:
    if tuple(images.shape[2:]) == res:
        return images
    resized = functional.interpolate(images, res, mode="bicubic", antialias=True)
    return resized.clamp(0, 255)


def permute_patches(
    images: Float[torch.Tensor, "batch channels height width"],
    patch_size: tuple[int, int],
    orders: Int[torch.Tensor, "batch patches"],
) -> Float[torch.Tensor, "batch channels height width"]:
    """Put patch `orders[n, i]` of image n where patch i was, row-major.

    For patches that do not overlap this permutes the patch tokens and keeps positional indices.
    Source: RPI, arXiv:2606.00124.
    """
    pixels = functional.unfold(images, patch_size, stride=patch_size)  # (batch, pixels, patches)
    moved = pixels.gather(2, orders[:, None, :].expand_as(pixels))
    return functional.fold(moved, images.shape[2:], patch_size, stride=patch_size)


def chosen(split: Split, limit: int | None, seed: int) -> Split:
    """Return all images, or `limit` of them drawn at random: folders are sorted by class."""
    if limit is None or limit >= len(split):
        return split
    drawn = np.sort(np.random.default_rng(seed).choice(len(split), limit, replace=False))
    if isinstance(split, FileSplit):
        return FileSplit([split.files[k] for k in drawn], split.labels[drawn], split.img_size)
    return Split(split.images[drawn], split.labels[drawn])
