"""Any folder of images in the ImageFolder layout: train/<class>/*, test/<class>/*."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np

from pe_inspect._typing import Shaped
from pe_inspect.data.dataset import Dataset, Split
from pe_inspect.data.datasets import datasets
from pe_inspect.errors import UsageError

__all__ = ["read_image_folder"]

SUFFIXES: Final = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".ppm", ".tif", ".tiff"})
TEST_FOLDERS: Final = ("test", "val")


@datasets.register("imagefolder")
def read_image_folder(argument: str, root: Path) -> Dataset:
    """Read `imagefolder:PATH`; PATH is taken from the working folder, else from `root`."""
    if not argument:
        raise UsageError("imagefolder needs a folder: imagefolder:path/to/folder.")
    folder = Path(argument) if Path(argument).is_dir() else root / argument
    return image_folder(folder, f"imagefolder:{argument}", label=folder.name)


def image_folder(folder: Path, name: str, label: str) -> Dataset:
    """Read every image under `folder` as RGB.

    Raises:
        UsageError: the layout is another one, a class is empty or unknown to the training split,
            an image cannot be read, or the sizes differ; the file is named.
    """
    train, test = _split_folder(folder, ("train",)), _split_folder(folder, TEST_FOLDERS)
    classes = _classes(train)
    unknown = sorted(set(_classes(test)) - set(classes))
    if unknown:
        raise UsageError(
            f"{test} has a class {unknown[0]!r} that {train} does not; both need the same folders."
        )
    trained = _read_split(train, classes)
    tested = _read_split(test, classes, expected=trained.images.shape[2:])
    return Dataset(name, label, trained, tested, classes)


def _split_folder(folder: Path, names: tuple[str, ...]) -> Path:
    if not folder.is_dir():
        raise UsageError(f"{folder} is no folder. {_LAYOUT}")
    for name in names:
        if (folder / name).is_dir():
            return folder / name
    raise UsageError(f"{folder} has no folder {' or '.join(names)}. {_LAYOUT}")


_LAYOUT: Final = "Expected train/<class>/* and test/<class>/* with one image a file."


def _classes(split: Path) -> tuple[str, ...]:
    names = tuple(sorted(entry.name for entry in split.iterdir() if entry.is_dir()))
    if not names:
        raise UsageError(f"{split} has no class folders. {_LAYOUT}")
    return names


def _read_split(
    split: Path, classes: tuple[str, ...], expected: tuple[int, ...] | None = None
) -> Split:
    files = [(file, label) for label, name in enumerate(classes) for file in _images(split / name)]
    images = _read_images([file for file, _ in files], expected)
    return Split(images, np.array([label for _, label in files], dtype=np.int64))


def _images(folder: Path) -> list[Path]:
    """Return a class's images by name; a split may lack a class, but its folder holds some."""
    if not folder.is_dir():
        return []
    found = sorted(file for file in folder.iterdir() if file.suffix.lower() in SUFFIXES)
    if not found:
        raise UsageError(f"{folder} holds no image ({', '.join(sorted(SUFFIXES))}).")
    return found


def _read_images(
    files: list[Path], expected: tuple[int, ...] | None
) -> Shaped[np.ndarray, "images 3 height width"]:
    """Read the files in order; each must be `expected` (H, W), or as large as the first."""
    first = _read_image(files[0])
    height, width = expected or first.shape[:2]
    images = np.empty((len(files), height, width, 3), dtype=np.uint8)
    for slot, file in zip(images, files):
        image = _read_image(file)
        if image.shape != slot.shape:
            raise UsageError(_mixed(file, image.shape, slot.shape))
        slot[:] = image
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2))


def _read_image(file: Path) -> Shaped[np.ndarray, "height width 3"]:
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(file) as image:
            return np.asarray(image.convert("RGB"))
    except (UnidentifiedImageError, OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise UsageError(
            f"{file} cannot be read as an image ({_reason(error)}). Replace it or remove it."
        ) from error


def _reason(error: Exception) -> str:
    from PIL import UnidentifiedImageError

    if isinstance(error, UnidentifiedImageError):
        return "its content is of no known kind"
    return str(error)


def _mixed(where: Path, given: tuple[int, ...], expected: tuple[int, ...]) -> str:
    return (
        f"{where} is {given[0]}×{given[1]} pixels, and the images before it "
        f"{expected[0]}×{expected[1]}. All images must have one size: resize them first."
    )
