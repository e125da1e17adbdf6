"""The loader that suits a dataset: on the device where its images are held, else from the disk."""

from __future__ import annotations

from typing import Any, Final

import torch

from pe_inspect.data.augmentation import Augmentation
from pe_inspect.data.dataset import Dataset, FileSplit
from pe_inspect.data.decoding import CROP_PCT
from pe_inspect.data.device_loader import DeviceLoader
from pe_inspect.data.stream_loader import StreamLoader

__all__ = ["Loader", "make_loader"]

Loader = DeviceLoader | StreamLoader

_NONE: Final = Augmentation()


def make_loader(
    dataset: Dataset,
    split: str,
    *,
    batch_size: int,
    device: torch.device | str = "cpu",
    augmentation: Augmentation = _NONE,
    seed: int = 0,
    rank: int = 0,
    world_size: int = 1,
    strict: bool = False,
    crop_pct: float = CROP_PCT,
) -> Loader:
    """Return what yields the batches of one split of a dataset.

    Args:
        dataset: what to read; it fixes the normalisation and the classes.
        split: `"train"` or `"test"`. The notes of the dataset go with the training loader.
        batch_size: images a batch, over all processes.
        device: where the batches are to be.
        augmentation: of training epochs.
        seed: of the order and the augmentation.
        rank: of this process.
        world_size: how many processes share each batch.
        strict: stop at an image on the disk that cannot be read.
        crop_pct: the share of such an image's shorter side that is evaluated.
    """
    images = dataset.train if split == "train" else dataset.test
    common: dict[str, Any] = {
        "mean": dataset.mean,
        "std": dataset.std,
        "batch_size": batch_size,
        "device": device,
        "augmentation": augmentation,
        "seed": seed,
        "num_classes": len(dataset.classes),
        "rank": rank,
        "world_size": world_size,
    }
    loader: Loader
    if isinstance(images, FileSplit):
        loader = StreamLoader(images, **common)
        loader.strict, loader.crop_pct = strict, crop_pct
    else:
        loader = DeviceLoader(images, **common)
    loader.notes.extend(dataset.notes if split == "train" else ())
    return loader
