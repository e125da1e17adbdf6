"""The images that a trace is made of: read, resized and normalised batch by batch."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from pe_inspect.arrays import Float, Int
from pe_inspect.data import FileSplit, Split
from pe_inspect.data import load as load_dataset
from pe_inspect.data.datasets import datasets
from pe_inspect.data.decoding import UnreadableImage, decoded
from pe_inspect.data.listing import SUFFIXES, is_hidden
from pe_inspect.errors import UsageError
from pe_inspect.live.hosts.common import Preprocessing

__all__ = ["ImageStream", "image_stream"]

DEFAULT_COUNT: Final = 64
CROP_SHARES: Final = (0.35, 0.55, 0.8)  # of the shorter side: the three scales
_SUFFIXES: Final = SUFFIXES | {".gif"}  # nothing is trained on these, so one frame will do


@dataclass(eq=False)
class ImageStream:
    """Images in their order; each pass reads them anew, and their hash is that of the first.

    Attributes:
        source: where they are from, in words.
        items: a file, or the pixels of one image (rows, columns, 3), uint8, each; or tensors that
            are normalised already.
        preprocessing: how they become tensors.
        left_out: why a file was left out, in words; known after a pass.
    """

    source: str
    items: Sequence[Any]
    preprocessing: Preprocessing
    left_out: dict[str, str] = field(default_factory=dict)
    sha256: str = ""

    def __len__(self) -> int:
        return len(self.items)

    def batches(
        self, res: tuple[int, int], size: int
    ) -> Iterator[Float[torch.Tensor, "batch channels height width"]]:
        """Yield normalised images of (height, width) pixels."""
        digest, held = hashlib.sha256(), []
        for item in self.items:
            image = self._tensor(item, res, digest)
            held += [] if image is None else [image]
            if len(held) == size:
                yield torch.stack(held)
                held = []
        if held:
            yield torch.stack(held)
        self.sha256 = digest.hexdigest()

    def _tensor(self, item: Any, res: tuple[int, int], digest: Any) -> torch.Tensor | None:
        if isinstance(item, torch.Tensor):
            digest.update(item.detach().cpu().float().numpy().tobytes())
            return item.float()
        try:
            pixels = _resized(item, res, self.preprocessing)
        except UnreadableImage as error:
            self.left_out[str(error.file)] = error.reason
            return None
        digest.update(pixels.tobytes())
        pixels = pixels.reshape(*pixels.shape[:2], -1)
        mean, std = (torch.tensor(v).view(-1, 1, 1) for v in
                     (self.preprocessing.mean, self.preprocessing.std))  # fmt: skip
        return (torch.from_numpy(pixels).permute(2, 0, 1).float() / 255 - mean) / std


def image_stream(
    images: Any, preprocessing: Preprocessing, seed: int, count: int | None = None
) -> ImageStream:
    """Return a stream of images, whatever they were given as.

    Args:
        images: `None` for crops of scikit-learn's two photographs; a folder of images, or of one
            folder a class, which are taken in turn; the name of a dataset, whose test images are
            taken in the same way; pixels (images, rows, columns, 3), uint8; or normalised tensors
            (images, channels, rows, columns) of the model's size.
        preprocessing: the model's.
        seed: of the crops.
        count: at most so many, the first; unless given 64 crops, 64 images of a dataset, and all
            of what else is given.

    Raises:
        UsageError: there are none.
    """
    if images is None:
        crops = _crops(seed, count or DEFAULT_COUNT)
        return ImageStream(f"{len(crops)} {_CROPS_SAID}", crops, preprocessing)
    if isinstance(images, torch.Tensor):
        return _first(count, "tensors, taken as normalised", list(images), preprocessing)
    if isinstance(images, np.ndarray):
        return _first(count, "pixels in memory", list(_checked_pixels(images)), preprocessing)
    if _is_dataset(images):
        return _first(count or DEFAULT_COUNT, *_test_images(str(images)), preprocessing)
    return _first(count, str(images), _files(Path(images)), preprocessing)


def _first(
    count: int | None, source: str, items: Sequence[Any], preprocessing: Preprocessing
) -> ImageStream:
    if count is None or count >= len(items):
        return ImageStream(source, items, preprocessing)
    return ImageStream(f"{source}, the first {count} of {len(items):,}", items[:count],
                       preprocessing)  # fmt: skip


def _is_dataset(images: Any) -> bool:
    """Whether this names a dataset: `"cifar10"`, `"imagefolder:PATH"`; a folder comes first."""
    name = str(images)
    return not Path(name).is_dir() and name.partition(":")[0] in datasets


def _test_images(name: str) -> tuple[str, list[Any]]:
    """Return what a dataset's test images are called, and they, one class after the other."""
    found = load_dataset(name)
    source = f"{found.label}, {found.test_name} images, classes in turn"
    return source, [_item(found.test, k) for k in _in_turn(found.test.labels)]


def _item(split: Split, place: int) -> Any:
    """Return a file, or pixels (rows, columns, 3), of a single channel (rows, columns)."""
    if isinstance(split, FileSplit):
        return split.files[place]
    pixels = split.images[place]
    return pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0)


def _in_turn(labels: Int[np.ndarray, " images"]) -> list[int]:
    """Return the first image of every class, then the second of every class, and so on."""
    order = np.argsort(labels, kind="stable")
    starts = np.searchsorted(labels[order], labels[order])
    within = np.arange(len(order)) - starts
    places: list[int] = order[np.argsort(within, kind="stable")].tolist()
    return places


def _checked_pixels(images: np.ndarray) -> np.ndarray:
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] != 3:
        raise UsageError(
            f"images are {images.dtype} of shape {images.shape}; pixels are uint8 of shape "
            "(images, rows, columns, 3). Normalised images are passed as a torch tensor."
        )
    return images


def _files(folder: Path) -> list[Path]:
    """Return a flat folder's images sorted; of class folders one after the other in turn."""
    own = sorted(f for f in _listed(folder) if f.suffix.lower() in _SUFFIXES)
    classes = [sorted(f for f in _listed(each) if f.suffix.lower() in _SUFFIXES)
               for each in sorted(f for f in _listed(folder) if f.is_dir())]  # fmt: skip
    longest = max(map(len, classes), default=0)
    found = own or [files[i] for i in range(longest) for files in classes if i < len(files)]
    if not found:
        raise UsageError(f"{folder} holds no images. Pass a folder of them, or one of folders.")
    return found


def _listed(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise UsageError(
            f"{folder} is no folder, and no dataset ({', '.join(sorted(datasets))}). Pass a folder "
            "of images, the name of a dataset, or leave it out."
        )
    return [entry for entry in folder.iterdir() if not is_hidden(entry.name)]


def _resized(item: Any, res: tuple[int, int], by: Preprocessing) -> np.ndarray:
    """Return (rows, columns, 3), or of one channel (rows, columns), as the preprocessing says."""
    from PIL import Image

    read = decoded(item) if isinstance(item, Path) else Image.fromarray(item)
    image = read.convert("L" if len(by.mean) == 1 else "RGB")
    method = Image.Resampling[by.filter.upper()]
    height, width = res
    if by.crop_to is None:
        return np.array(image.resize((width, height), method))
    scale = max(by.crop_to, height, width) / min(image.size)
    sides = (round(image.width * scale), round(image.height * scale))
    left, top = (sides[0] - width) // 2, (sides[1] - height) // 2
    grown = image.resize((max(sides[0], width), max(sides[1], height)), method)
    return np.array(grown.crop((left, top, left + width, top + height)))


_CROPS_SAID: Final = (
    "seeded crops of scikit-learn's two photographs, at three scales, in eight orientations"
)


def _crops(seed: int, count: int) -> list[np.ndarray]:
    from sklearn.datasets import load_sample_images

    photographs, random = load_sample_images().images, np.random.default_rng(seed)
    return [_crop(photographs[i % 2], CROP_SHARES[i % 3], i % 8, random)
            for i in range(count)]  # fmt: skip


def _crop(photograph: np.ndarray, share: float, turn: int, random: Any) -> np.ndarray:
    side = int(min(photograph.shape[:2]) * share)
    top, left = (int(random.integers(0, n - side + 1)) for n in photograph.shape[:2])
    square = np.rot90(photograph[top : top + side, left : left + side], turn % 4)
    return np.ascontiguousarray(square[:, ::-1] if turn >= 4 else square)
