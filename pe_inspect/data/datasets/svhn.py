"""Street View House Numbers, cropped digits, in torchvision's layout: two MATLAB files."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np

from pe_inspect.data.dataset import Dataset, Split
from pe_inspect.data.datasets import Request, datasets, refuse_argument
from pe_inspect.data.datasets._download import Archive, fetch
from pe_inspect.errors import UsageError

__all__ = ["read_svhn"]

HOME: Final = "http://ufldl.stanford.edu/housenumbers/"
ARCHIVES: Final = (
    Archive(f"{HOME}train_32x32.mat", "e26dedcc434d2e4c54c9b2d4a06d8373"),
    Archive(f"{HOME}test_32x32.mat", "eb5a983be6a315427106f1b164d9cef3"),
)
LABEL: Final = "SVHN"


@datasets.register("svhn")
def read_svhn(request: Request) -> Dataset:
    """Read `root/train_32x32.mat` and `root/test_32x32.mat`; downloaded where they are not there.

    Source: Y. Netzer et al., Reading Digits in Natural Images, NIPS workshop 2011.
    """
    refuse_argument("svhn", request)
    train, test = (_split(_file(request.root, archive)) for archive in ARCHIVES)
    return Dataset("svhn", LABEL, train, test, tuple("0123456789"))


def _file(root: Path, archive: Archive) -> Path:
    path = root / archive.name
    layout = f"{' and '.join(each.name for each in ARCHIVES)} into {root}"
    return path if path.is_file() else fetch(archive, root, LABEL, layout)


def _split(path: Path) -> Split:
    """Return the images, channels first; class 10 of the file is the digit 0."""
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    try:
        content = loadmat(path, variable_names=("X", "y"))
    except (MatReadError, ValueError, TypeError, NotImplementedError, OSError, EOFError) as error:
        raise UsageError(
            f"{path} cannot be read as a MATLAB file ({error}); remove it to download it again."
        ) from error
    images, labels = content.get("X"), content.get("y")
    if images is None or labels is None or images.ndim != 4 or images.shape[3] != labels.size:
        raise UsageError(f"{path} is no file of SVHN: expected X (32, 32, 3, N) and y (N, 1).")
    digits = labels.reshape(-1).astype(np.int64) % 10
    return Split(np.ascontiguousarray(images.transpose(3, 2, 0, 1)).astype(np.uint8), digits)
