"""CIFAR's files, as its makers pickled them: read without running what a pickle may hold."""

from __future__ import annotations

import codecs
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any, Final

import numpy as np

from pe_inspect.data.dataset import Dataset, Split
from pe_inspect.data.datasets import Request
from pe_inspect.data.datasets._download import Archive, fetch, present
from pe_inspect.errors import UsageError

__all__ = ["read_cifar"]

SIDE: Final = 32


def read_cifar(
    request: Request,
    *,
    name: str,
    label: str,
    folder: str,
    archive: Archive,
    files: tuple[Sequence[str], Sequence[str], str],
    keys: tuple[str, str],
) -> Dataset:
    """Read one of the two CIFARs in torchvision's layout.

    Args:
        request: where to look.
        name: of the dataset.
        label: of the numbers measured on it.
        folder: under the root.
        archive: what to download where the folder is not there.
        files: of the training images, of the test images, and of the names.
        keys: under which a file has its class numbers, and the names are.
    """
    place = request.root / folder
    train, test, names = files
    wanted = [place / file for file in (*train, *test, names)]
    if not present(wanted):
        layout = f"the folder {folder} with {', '.join(files[0])}, … into {request.root}"
        fetch(archive, request.root, label, layout)
    missing = next((path for path in wanted if not path.is_file()), None)
    if missing is not None:
        raise UsageError(f"{label}: {missing} is not there; {place} is not complete.")
    classes = tuple(_plain(place / names)[keys[1]])
    splits = [_split([place / file for file in some], keys[0], len(classes)) for some in files[:2]]
    return Dataset(name, label, splits[0], splits[1], classes)


def _split(paths: Sequence[Path], labels_key: str, num_classes: int) -> Split:
    parts = [(path, _plain(path)) for path in paths]
    images, labels = zip(*(_arrays(path, part, labels_key, num_classes) for path, part in parts))
    return Split(np.concatenate(images), np.concatenate(labels))


def _arrays(
    path: Path, part: dict[str, Any], labels_key: str, num_classes: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return (N, 3, 32, 32) uint8 and (N,) of one file, or say what is wrong with it."""
    pixels, labels = part.get("data"), np.asarray(part.get(labels_key, ()), dtype=np.int64)
    if not isinstance(pixels, np.ndarray) or pixels.dtype != np.uint8 or pixels.ndim != 2:
        raise UsageError(f"{path} holds no images of CIFAR: data must be uint8 (N, 3072).")
    if pixels.shape != (len(labels), 3 * SIDE * SIDE) or not len(labels):
        raise UsageError(
            f"{path} has data of {pixels.shape} and {len(labels)} {labels_key}; "
            f"expected (N, 3072) and N."
        )
    if labels.min() < 0 or labels.max() >= num_classes:
        raise UsageError(f"{path} has class {labels.max()}, and there are {num_classes} names.")
    return pixels.reshape(-1, 3, SIDE, SIDE), labels


class _Inert(pickle.Unpickler):
    """Builds NumPy arrays and plain values, and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        known = _KNOWN.get((module.replace("numpy._core", "numpy.core"), name))
        if known is None:
            raise pickle.UnpicklingError(f"it names {module}.{name}, which CIFAR does not need")
        return known


_REBUILD: Final = np.empty(0).__reduce__()[0]
_KNOWN: Final[dict[tuple[str, str], Any]] = {
    ("numpy.core.multiarray", "_reconstruct"): _REBUILD,
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("_codecs", "encode"): codecs.encode,
}


def _plain(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            content = _loaded(file)
    except (pickle.UnpicklingError, EOFError, ValueError, TypeError, IndexError) as error:
        raise UsageError(
            f"{path} cannot be read as a file of CIFAR ({error}). Nothing in it was run; replace "
            "it, or remove its folder to download it again."
        ) from error
    if not isinstance(content, dict):
        raise UsageError(f"{path} is no file of CIFAR: it holds a {type(content).__name__}.")
    return content


def _loaded(file: IO[bytes]) -> Any:
    return _Inert(file, encoding="latin1").load()
