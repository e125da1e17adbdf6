"""Test images of a dataset, resized and normalised, batch by batch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch.nn import functional

from pe_inspect.arrays import Float, Int, Shaped
from pe_inspect.data import Split
from pe_inspect.data.dataset import FileSplit
from pe_inspect.data.decoding import CROP_PCT, UnreadableImage, left_out, middle
from pe_inspect.errors import UsageError
from pe_inspect.resampling.target_grid import available_memory, shown

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
        name: of the split.
        broken: the files that were asked for and could not be read.
    """

    split: Split
    mean: tuple[float, ...]
    std: tuple[float, ...]
    batch_size: int
    seed: int
    device: torch.device
    crop_pct: float = CROP_PCT
    name: str = "test"
    broken: dict[Path, UnreadableImage] = field(default_factory=dict)

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

        Raises:
            UsageError: no image can be read.
        """
        count = (res[0] // permuted[0]) * (res[1] // permuted[1]) if permuted else 0
        orders = self._orders(count)
        for start in range(0, len(self), self.batch_size):
            wanted = np.arange(start, min(start + self.batch_size, len(self)))
            raw, which = self._read(wanted, res)
            if not len(which):
                continue
            images = torch.from_numpy(raw).to(self.device).float()
            images = self._normalised(_resized(images, res))
            if permuted:
                images = permute_patches(images, permuted, orders[which].to(self.device))
            yield images, torch.from_numpy(self.split.labels[which]).to(self.device)
        if len(self.broken) == len(self):
            raise UsageError(f"{self.left_out}. Pass --data with images.")

    @property
    def left_out(self) -> str:
        """A note on the images that could not be read; empty where all could."""
        if not self.broken:
            return ""
        return left_out(list(self.broken.values()), len(self), f"the {self.name} split")

    def _read(
        self, wanted: np.ndarray, res: tuple[int, int]
    ) -> tuple[Shaped[np.ndarray, "batch channels height width"], Int[np.ndarray, " batch"]]:
        """Return the images that can be read, uint8, and which they are."""
        if not isinstance(self.split, FileSplit):
            return self.split.images[wanted], wanted
        found = [(which, self._middle(self.split.files[which], res)) for which in wanted]
        held = {which: pixels for which, pixels in found if pixels is not None}
        pixels = np.stack(list(held.values())) if held else np.empty((0, 3, *res), np.uint8)
        return pixels, np.array(list(held), np.int64)

    def _middle(self, file: Path, res: tuple[int, int]) -> np.ndarray | None:
        try:
            return middle(file, res, self.crop_pct)
        except UnreadableImage as error:
            self.broken[file] = error
            return None

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
