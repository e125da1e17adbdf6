"""CIFAR-10 as 60,000 small JPEG files; lossy, so its numbers are labelled as a copy's."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from pe_inspect.data.dataset import Dataset
from pe_inspect.data.datasets import Request, datasets, refuse_argument
from pe_inspect.data.datasets.imagefolder import image_folder
from pe_inspect.errors import UsageError

__all__ = ["read_cifar10_jpeg"]

FOLDER: Final = "cifar10-jpeg"


@datasets.register("cifar10-jpeg")
def read_cifar10_jpeg(request: Request) -> Dataset:
    """Read `root/cifar10-jpeg`, an ImageFolder.

    Source: A. Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009.
    """
    refuse_argument("cifar10-jpeg", request)
    folder = request.root / FOLDER
    if not folder.is_dir():
        raise UsageError(
            f"CIFAR-10 (JPEG copy) is not in {folder}. Unpack it there (tar -xJf "
            f"cifar10-jpeg.tar.xz -C {request.root}), or put any copy of CIFAR-10 in the layout "
            f"{folder}/train/<class>/* and {folder}/test/<class>/*."
        )
    held = replace(request, stream="off")
    return image_folder(folder, "cifar10-jpeg", label="CIFAR-10 (JPEG copy)", request=held)
