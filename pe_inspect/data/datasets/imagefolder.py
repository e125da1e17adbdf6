"""Any folder of images in the ImageFolder layout: train/<class>/*, test/<class>/*."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import numpy as np

from pe_inspect.data.dataset import Dataset, FileSplit, Split
from pe_inspect.data.datasets import Request, datasets
from pe_inspect.data.decoding import UnreadableImage, central, decoded, left_out
from pe_inspect.data.listing import LAYOUT, Listed, class_folders
from pe_inspect.data.overlap import file_overlap_note, overlap_note
from pe_inspect.errors import UsageError

__all__ = ["MEMORY_LIMIT", "image_folder", "read_image_folder"]

TRAIN_FOLDER: Final = "train"
TEST_FOLDERS: Final = ("test", "val")
MEMORY_LIMIT: Final = 2 * 2**30  # bytes that a set may take on the device


@datasets.register("imagefolder")
def read_image_folder(request: Request) -> Dataset:
    """Read `imagefolder:PATH`; PATH is taken from the working folder, else from `root`."""
    argument = request.argument
    if not argument:
        raise UsageError("imagefolder needs a folder: imagefolder:path/to/folder.")
    folder = Path(argument) if Path(argument).is_dir() else request.root / argument
    return image_folder(folder, f"imagefolder:{argument}", label=folder.name, request=request)


def image_folder(folder: Path, name: str, label: str, request: Request) -> Dataset:
    """Read the images under `folder` as RGB, or list them where they are too many to hold.

    Images of one size are kept as they are; those of several are resized and cropped to
    `request.img_size`. One that cannot be read is left out. That, hidden files, files of other
    kinds than torchvision's ImageFolder reads, classes without a test image and images in both
    splits are noted.

    Raises:
        UsageError: the layout is another one, a class is empty or unknown to the training split,
            there is one class only, sizes differ and none was asked for, or, under
            `request.strict`, an image cannot be read; the file is named.
    """
    train, *tests = _split_folders(folder)
    classes = _classes(train)
    test, notes = _labelled(tests, classes)
    unknown = sorted(set(_classes(test)) - set(classes))
    if unknown:
        raise UsageError(
            f"{test} has a class {unknown[0]!r} that {train} does not; both need the same folders."
        )
    splits = [Listed.of(split, classes) for split in (train, test)]
    streams = request.stream != "off" and _streams(splits, request)
    read = (_streamed if streams else _held)(name, label, classes, splits, request)
    said = (*notes, *(note for split in splits for note in split.notes), *read.notes)
    return replace(read, notes=said, test_name=test.name)


def _split_folders(folder: Path) -> list[Path]:
    """Return the folder of training images, and one or more of others."""
    if not folder.is_dir():
        raise UsageError(f"{folder} is no folder. {LAYOUT}")
    found = []
    for names in ((TRAIN_FOLDER,), TEST_FOLDERS):
        there = [folder / name for name in names if (folder / name).is_dir()]
        if not there:
            raise UsageError(f"{folder} has no folder {' or '.join(names)}. {LAYOUT}")
        found += there
    return found


def _classes(split: Path) -> tuple[str, ...]:
    names = class_folders(split)
    if not names:
        raise UsageError(f"{split} has no class folders. {LAYOUT}")
    return names


def _labelled(tests: list[Path], classes: tuple[str, ...]) -> tuple[Path, tuple[str, ...]]:
    """Return the first folder of images sorted by these classes, and what to say of the others.

    A `test/` without labels, as competitions have it, hides no `val/`.
    """
    labelled = [each for each in tests if set(class_folders(each)) & set(classes)]
    chosen = next(iter(labelled), tests[0])
    notes = []
    for other in tests:
        why = "" if other in labelled else " has no folders of these classes, and"
        if other != chosen:
            notes.append(f"{other}{why} is not read; {chosen} is")
    return chosen, tuple(notes)


def _streams(splits: list[Listed], request: Request) -> bool:
    if request.stream == "on":
        return True
    if request.img_size is None:
        return False
    height, width = request.img_size
    return sum(len(split.files) for split in splits) * 3 * height * width > MEMORY_LIMIT


def _streamed(
    name: str, label: str, classes: tuple[str, ...], splits: list[Listed], request: Request
) -> Dataset:
    size = request.img_size
    if size is None:
        raise UsageError(f"stream is on, and no img_size says what {label}'s images become.")
    train, test = (
        FileSplit(split.files, np.array(split.labels, dtype=np.int64), size) for split in splits
    )
    note = (
        f"{label}: {len(train):,} training images are read from the disk as they are needed, "
        f"cropped and resized to {size[0]}×{size[1]}, and normalised by ImageNet's mean and "
        "standard deviation"
    )
    shared = file_overlap_note(*(split.files for split in splits))
    return Dataset(name, label, train, test, classes, (note, f"{label}: {shared}"))


def _held(
    name: str, label: str, classes: tuple[str, ...], splits: list[Listed], request: Request
) -> Dataset:
    """Hold all images, as they are; start again, and resize, where a second size turns up."""
    reader = _Reader(request.strict)
    try:
        train, test = (reader.read(split) for split in splits)
    except _MixedSizes as mixed:
        if request.img_size is None:
            raise UsageError(f"{mixed} Pass an img_size to resize them to.") from mixed
        reader = _Reader(request.strict, request.img_size)
        train, test = (reader.read(split) for split in splits)
        reader.notes.append(_resized(label, request.img_size))
    shared = overlap_note(train, test, *reader.files)
    reader.notes.extend([shared] if shared else [])
    return Dataset(name, label, train, test, classes, tuple(reader.notes))


def _resized(label: str, size: tuple[int, int]) -> str:
    return (
        f"{label}: the images are of several sizes; each was resized until it covered "
        f"{size[0]}×{size[1]}, and its middle kept"
    )


class _MixedSizes(Exception):
    """A second size of images turned up."""


@dataclass
class _Reader:
    """Reads the images of both splits into arrays.

    Attributes:
        strict: whether a broken image ends it.
        fit: (H, W) that every image becomes; `None` keeps them, and demands one size.
        size: that size, from the first image on.
        notes: what was left out.
        files: those that were read, a list a split.
    """

    strict: bool
    fit: tuple[int, int] | None = None
    size: tuple[int, int] | None = None
    notes: list[str] = field(default_factory=list)
    files: list[list[Path]] = field(default_factory=list)

    def read(self, split: Listed) -> Split:
        """Read a split's images in order, without the broken ones."""
        images: np.ndarray | None = None
        labels: list[int] = []
        self.files.append([])
        broken: list[UnreadableImage] = []
        for file, label in zip(split.files, split.labels):
            try:
                pixels = self._pixels(file)
            except UnreadableImage as error:
                broken.append(self._allowed(error))
                continue
            if images is None:
                images = np.empty((len(split.files), *pixels.shape), dtype=np.uint8)
            images[len(labels)] = pixels
            labels.append(label)
            self.files[-1].append(file)
        self._note(split, broken)
        if images is None:
            raise UsageError(f"{split.folder} holds no image that can be read; {broken[0]}.")
        held = np.ascontiguousarray(images[: len(labels)].transpose(0, 3, 1, 2))
        return Split(held, np.array(labels, dtype=np.int64))

    def _pixels(self, file: Path) -> np.ndarray:
        image = decoded(file)
        if self.fit:
            return np.asarray(central(image, self.fit))
        self.size = self.size or (image.height, image.width)
        if self.size != (image.height, image.width):
            raise _MixedSizes(
                f"{file} is {image.height}×{image.width} pixels, and the images before it "
                f"{self.size[0]}×{self.size[1]}."
            )
        return np.asarray(image)

    def _allowed(self, error: UnreadableImage) -> UnreadableImage:
        if self.strict:
            raise UsageError(f"{error}. Replace it or remove it.") from error
        return error

    def _note(self, split: Listed, broken: list[UnreadableImage]) -> None:
        if broken:
            self.notes.append(left_out(broken, len(split.files), str(split.folder)))
