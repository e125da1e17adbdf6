"""CIFAR-10, lossless, in torchvision's layout."""

from __future__ import annotations

from typing import Final

from pe_inspect.data.dataset import Dataset
from pe_inspect.data.datasets import Request, datasets, refuse_argument
from pe_inspect.data.datasets._cifar import read_cifar
from pe_inspect.data.datasets._download import Archive

__all__ = ["read_cifar10"]

ARCHIVE: Final = Archive(
    "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz", "c58f30108f718f92721af3b95e74349a"
)
TRAIN: Final = tuple(f"data_batch_{number}" for number in range(1, 6))


@datasets.register("cifar10")
def read_cifar10(request: Request) -> Dataset:
    """Read `root/cifar-10-batches-py`; downloaded where it is not there.

    Source: A. Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009.
    """
    refuse_argument("cifar10", request)
    return read_cifar(
        request,
        name="cifar10",
        label="CIFAR-10",
        folder="cifar-10-batches-py",
        archive=ARCHIVE,
        files=(TRAIN, ("test_batch",), "batches.meta"),
        keys=("labels", "label_names"),
    )
