"""From a file to the pixels of one image, and the crops that it is cut to."""

from __future__ import annotations

import math
import struct
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["CROP_PCT", "UnreadableImage", "central", "decoded", "random_crop"]

CROP_PCT: Final = 0.875  # of the resized image's side, as for ImageNet since AlexNet
TRIES: Final = 10
WIDEST: Final = 4 / 3  # aspect of a random crop; the tallest is its inverse


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


def decoded(file: Path) -> Image:
    """Return an image's pixels as RGB.

    Raises:
        UnreadableImage: the file is no image, or only a part of one.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(file) as image:
            return image.convert("RGB")
    except UnidentifiedImageError as error:
        raise UnreadableImage(file, "its content is of no known kind") from error
    except (OSError, SyntaxError, ValueError, IndexError, struct.error, zlib.error) as error:
        raise UnreadableImage(file, str(error)) from error
    except Image.DecompressionBombError as error:
        raise UnreadableImage(file, str(error)) from error


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
