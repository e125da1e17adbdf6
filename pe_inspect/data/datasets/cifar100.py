"""CIFAR-100, by its fine classes, in torchvision's layout."""

from __future__ import annotations

from typing import Final

from pe_inspect.data.dataset import Dataset
from pe_inspect.data.datasets import Request, datasets, refuse_argument
from pe_inspect.data.datasets._cifar import read_cifar
from pe_inspect.data.datasets._download import Archive

__all__ = ["read_cifar100"]

ARCHIVE: Final = Archive(
    "https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz", "eb9058c3a382ffc7106e4002c42a8d85"
)


@datasets.register("cifar100")
def read_cifar100(request: Request) -> Dataset:
    """Read `root/cifar-100-python`; downloaded where it is not there.

    Source: A. Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009.
    """
    refuse_argument("cifar100", request)
    return read_cifar(
        request,
        name="cifar100",
        label="CIFAR-100",
        folder="cifar-100-python",
        archive=ARCHIVE,
        files=(("train",), ("test",), "meta"),
        keys=("fine_labels", "fine_label_names"),
    )
