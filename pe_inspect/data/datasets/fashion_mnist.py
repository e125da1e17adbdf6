"""Fashion-MNIST in torchvision's layout: four IDX files, gzipped or not."""

from __future__ import annotations

import gzip
import math
import zlib
from pathlib import Path
from typing import Final

import numpy as np

from pe_inspect.data.dataset import Dataset, Split
from pe_inspect.data.datasets import Request, datasets, refuse_argument
from pe_inspect.data.datasets._download import Archive, fetch
from pe_inspect.errors import UsageError

__all__ = ["read_fashion_mnist"]

MIRROR: Final = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"
ARCHIVES: Final = {
    ("train", "images"): Archive(
        f"{MIRROR}train-images-idx3-ubyte.gz", "8d4fb7e6c68d591d4c3dfef9ec88bf0d"
    ),
    ("train", "labels"): Archive(
        f"{MIRROR}train-labels-idx1-ubyte.gz", "25c81989df183df01b3e8a0aad5dffbe"
    ),
    ("test", "images"): Archive(
        f"{MIRROR}t10k-images-idx3-ubyte.gz", "bef4ecab320f06d8554ea6380940ec79"
    ),
    ("test", "labels"): Archive(
        f"{MIRROR}t10k-labels-idx1-ubyte.gz", "bb300cfdad3c16e7a12a480ee83cd310"
    ),
}
CLASSES: Final = (
    *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
    *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
)
LABEL: Final = "Fashion-MNIST"
UNSIGNED_BYTES: Final = 8  # the IDX code of the type of the values


@datasets.register("fashion-mnist")
def read_fashion_mnist(request: Request) -> Dataset:
    """Read `root/FashionMNIST/raw`; downloaded where it is not there.

    Source: H. Xiao, K. Rasul, R. Vollgraf, arXiv:1708.07747.
    """
    refuse_argument("fashion-mnist", request)
    folder = request.root / "FashionMNIST" / "raw"
    train, test = (_split(folder, part) for part in ("train", "test"))
    return Dataset("fashion-mnist", LABEL, train, test, CLASSES)


def _split(folder: Path, part: str) -> Split:
    images = _idx(_file(folder, ARCHIVES[part, "images"]), 3)
    labels = _idx(_file(folder, ARCHIVES[part, "labels"]), 1)
    if len(images) != len(labels):
        raise UsageError(f"{folder} has {len(images)} images and {len(labels)} labels of {part}.")
    return Split(images[:, None], labels.astype(np.int64))


def _file(folder: Path, archive: Archive) -> Path:
    """Return the unpacked file where there is one, else the gzipped one, downloaded if need be."""
    unpacked = folder / archive.name.removesuffix(".gz")
    if unpacked.is_file():
        return unpacked
    layout = f"{', '.join(each.name for each in ARCHIVES.values())} into {folder}"
    return fetch(archive, folder, LABEL, layout)


def _idx(path: Path, ndim: int) -> np.ndarray:
    """Return the array of an IDX file: magic number, big-endian sizes, bytes."""
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise UsageError(f"{path} cannot be read ({error}); remove it to download it.") from error
    start = 4 + 4 * ndim
    sizes = [int.from_bytes(content[at : at + 4], "big") for at in range(4, start, 4)]
    values = np.frombuffer(content, dtype=np.uint8)[start:]
    magic = bytes((0, 0, UNSIGNED_BYTES, ndim))
    if content[:4] != magic or values.size != math.prod(sizes):
        raise UsageError(
            f"{path} is no IDX file of {ndim} dimensions, or a part of one; remove it to "
            "download it again."
        )
    return values.reshape(sizes).copy()
