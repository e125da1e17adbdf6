"""From a file to the pixels of one image, and the crops that it is cut to."""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from pe_inspect.arrays import Shaped

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = [
    "CROP_PCT",
    "UnreadableImage",
    "central",
    "decoded",
    "left_out",
    "middle",
    "random_crop",
]

CROP_PCT: Final = 0.875  # of the resized image's side, as for ImageNet since AlexNet
TRIES: Final = 10
WIDEST: Final = 4 / 3  # aspect of a random crop; the tallest is its inverse
BRIGHTEST: Final = 255
BRIGHTEST_OF_16_BITS: Final = 65535
NAMED: Final = 3  # images left out that a note names
FREE_PIXELS: Final = 1 << 25
PIXELS_A_BYTE: Final = 16
"""A photograph has less than 16 pixels a byte; drawings may have more, up to 32 megapixels."""
NARROWEST: Final = 64  # a longer side, once the shorter one has the model's size, is too much
SIXTEEN_BITS: Final = ("PNG", "PPM")  # formats of which Pillow reads 16 bits into 32


class UnreadableImage(Exception):
    """A file is no image, or only a part of one.

    Args:
        file: its path.
        reason: what is wrong with it.
    """

    def __init__(self, file: Path, reason: str) -> None:
        super().__init__(str(file), reason)
        self.file, self.reason = file, reason

    def __str__(self) -> str:
        return f"{self.file} cannot be read as an image ({self.reason})"


def left_out(broken: Sequence[UnreadableImage], count: int, of: str) -> str:
    """Return the note on images that were left out: how many of `count`, and the first by name."""
    named = "; ".join(f"{error.file} ({error.reason})" for error in broken[:NAMED])
    more = f"; and {len(broken) - NAMED} more" if len(broken) > NAMED else ""
    return (
        f"{len(broken)} of {count:,} images of {of} cannot be read and were left out: {named}{more}"
    )


def decoded(file: Path) -> Image:
    """Return an image's pixels as RGB, 8 bits each; more bits are scaled down to these.

    Raises:
        UnreadableImage: the file is no image, or only a part of one, or of numbers that do not
            say how bright they are: floats beyond 0 … 1, integers of 32 bits.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(file) as image:
            _refuse_expansion(image, file)
            return _of_bytes(image, file).convert("RGB")
    except UnidentifiedImageError as error:
        raise UnreadableImage(file, "its content is of no known kind") from error
    except (OSError, SyntaxError, ValueError, IndexError, struct.error, zlib.error) as error:
        raise UnreadableImage(file, str(error)) from error
    except Image.DecompressionBombError as error:
        raise UnreadableImage(file, str(error)) from error


def _refuse_expansion(image: Image, file: Path) -> None:
    """Refuse, before a pixel is decoded, what would take far more memory than the file is long."""
    width, height = image.size
    if width * height > FREE_PIXELS + PIXELS_A_BYTE * file.stat().st_size:
        raise UnreadableImage(file, f"its {width}×{height} pixels are far more than its bytes tell")
    if max(width, height) > NARROWEST * min(width, height):
        raise UnreadableImage(file, f"its {width}×{height} pixels are a line, and no picture")


def _of_bytes(image: Image, file: Path) -> Image:
    """Return an image whose values end at 255; where others begin, Pillow would cut them off."""
    if image.mode == "F":
        return _in_bytes(image, 1, file)
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format in SIXTEEN_BITS):
        return _in_bytes(image, BRIGHTEST_OF_16_BITS, file)
    if image.mode == "I":
        raise UnreadableImage(
            file, "its values are integers of 32 bits or of either sign; 8 or 16 bits were expected"
        )
    return image


def _in_bytes(image: Image, brightest: int, file: Path) -> Image:
    from PIL import Image

    values = np.asarray(image)
    low, high = float(values.min()), float(values.max())
    if not 0 <= low <= high <= brightest:  # nor where one is NaN
        raise UnreadableImage(
            file, f"its values are {low:g} to {high:g}; 0 to {brightest} were expected"
        )
    return Image.fromarray(np.rint(values * (BRIGHTEST / brightest)).astype(np.uint8))


def central(image: Image, size: tuple[int, int], share: float = 1.0) -> Image:
    """Resize an image until it covers `size`, and keep the middle.

    Args:
        image: of any size.
        size: (H, W) of the result.
        share: of the resized image that is kept, along the side that fits; below 1 more than the
            overhang is cut off.
    """
    from PIL import Image

    height, width = size
    scale = max(height / image.height, width / image.width) / share
    tall, wide = height / scale, width / scale
    left, top = (image.width - wide) / 2, (image.height - tall) / 2
    box = (left, top, left + wide, top + tall)
    return image.resize((width, height), Image.Resampling.BICUBIC, box=box)


def middle(file: Path, size: tuple[int, int], share: float) -> Shaped[np.ndarray, "3 height width"]:
    """Return the middle of an image, see `central`, as planes.

    Raises:
        UnreadableImage: the file is no image, or only a part of one.
    """
    return np.asarray(central(decoded(file), size, share)).transpose(2, 0, 1)


def random_crop(
    image: Image, size: tuple[int, int], smallest: float, random: np.random.Generator
) -> Image:
    """Cut a part of random area and aspect out, and resize it to `size`.

    The area is `smallest` to all of the image's, the aspect 3:4 to 4:3; of ten draws the first
    that fits is taken, else the middle. Source: arXiv:1409.4842, section 6.

    Args:
        image: of any size.
        size: (H, W) of the result.
        smallest: share of the area, 0 … 1.
        random: where the draws come from.
    """
    from PIL import Image

    height, width = size
    area = random.uniform(smallest, 1, TRIES) * image.width * image.height
    aspect = np.exp(random.uniform(-math.log(WIDEST), math.log(WIDEST), TRIES))
    corner = random.random(2)
    for some, ratio in zip(area, aspect):
        wide, tall = round(math.sqrt(some * ratio)), round(math.sqrt(some / ratio))
        if 0 < wide <= image.width and 0 < tall <= image.height:
            left = int(corner[0] * (image.width - wide + 1))
            top = int(corner[1] * (image.height - tall + 1))
            box = (left, top, left + wide, top + tall)
            return image.resize((width, height), Image.Resampling.BICUBIC, box=box)
    return central(image, size)
