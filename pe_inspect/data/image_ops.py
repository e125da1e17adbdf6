"""The operations of RandAugment and TrivialAugment on batches, each image with its own amount.

Images are (N, C, H, W) uint8 on any device, amounts (N,) float64 on the host; what is outside an
image is black, or the colour that is asked for. Each agrees with torchvision's or timm's operation
on one image.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import numpy as np
import torch
from torch.nn import functional

__all__ = ["COLOUR", "GEOMETRY", "warp"]

BRIGHTEST: Final = 255
DARKER_HALF: Final = 128
LUMA: Final = (0.2989, 0.587, 0.114)  # of red, green and blue: ITU-R BT.601
LUMA_OF_65536: Final = (19595, 38470, 7471)
HALF_OF_65536: Final = 1 << 15
BLUR_REACH: Final = 3.0  # standard deviations
CENTRE_WEIGHT: Final = 5  # of the 3×3 blur that sharpness is measured against; the others are 1


def shear_x(amount: np.ndarray, height: int, _: int) -> np.ndarray:
    """Rows move by `amount` pixels a row, the top row least."""
    return _matrices(amount, x_of_y=amount, x_shift=amount * height / 2)


def shear_y(amount: np.ndarray, _: int, width: int) -> np.ndarray:
    """Columns move by `amount` pixels a column, the left column least."""
    return _matrices(amount, y_of_x=amount, y_shift=amount * width / 2)


def translate_x(amount: np.ndarray, _height: int, _width: int) -> np.ndarray:
    """Move to the right by whole pixels."""
    return _matrices(amount, x_shift=-np.trunc(amount))


def translate_y(amount: np.ndarray, _height: int, _width: int) -> np.ndarray:
    """Move down by whole pixels."""
    return _matrices(amount, y_shift=-np.trunc(amount))


def rotate(amount: np.ndarray, _height: int, _width: int) -> np.ndarray:
    """Turn counter-clockwise by degrees about the centre."""
    cosine, sine = np.cos(np.radians(amount)), np.sin(np.radians(amount))
    matrices = _matrices(amount, x_of_y=-sine, y_of_x=sine)
    matrices[:, 0, 0] = matrices[:, 1, 1] = cosine
    return matrices


# An operation's (N, 2, 3) matrices: from a pixel to where it comes from, about the centre.
GEOMETRY: Final[Mapping[str, Callable[[np.ndarray, int, int], np.ndarray]]] = {
    "shear_x": shear_x,
    "shear_y": shear_y,
    "translate_x": translate_x,
    "translate_y": translate_y,
    "rotate": rotate,
}


def _matrices(amount: np.ndarray, **entries: np.ndarray) -> np.ndarray:
    """Return identities with some entries set."""
    where = {"x_of_y": (0, 1), "y_of_x": (1, 0), "x_shift": (0, 2), "y_shift": (1, 2)}
    matrices = np.zeros((len(amount), 2, 3))
    matrices[:, 0, 0] = matrices[:, 1, 1] = 1
    for name, values in entries.items():
        matrices[:, where[name][0], where[name][1]] = values
    return matrices


def warp(
    images: torch.Tensor,
    matrices: torch.Tensor,
    mode: str = "nearest",
    outside: torch.Tensor | float = 0.0,
) -> torch.Tensor:
    """Take every pixel from where its image's matrix points.

    Args:
        images: (N, C, H, W) uint8.
        matrices: (N, 2, 3) float32, in pixels about the centre.
        mode: `"nearest"` or `"bicubic"`.
        outside: the colour beyond the image, (1, C, 1, 1) or one number, 0 … 255.
    """
    height, width = images.shape[-2:]
    x = torch.arange(width, device=images.device) - (width - 1) / 2
    y = torch.arange(height, device=images.device) - (height - 1) / 2
    rows, columns = torch.meshgrid(y, x, indexing="ij")
    homogeneous = torch.stack((columns, rows, torch.ones_like(rows)), dim=-1).view(1, -1, 3)
    halves = torch.tensor((width / 2, height / 2), device=images.device)
    sources = homogeneous.expand(len(images), -1, -1) @ (matrices.transpose(1, 2) / halves)
    grid = sources.view(len(images), height, width, 2)
    inside = images.float() - outside
    taken = functional.grid_sample(inside, grid, mode=mode, align_corners=False) + outside
    return taken.round().clamp(0, BRIGHTEST).to(torch.uint8)


def brightness(images: torch.Tensor, amount: np.ndarray) -> torch.Tensor:
    """Multiply by 1 + amount."""
    return _blend(images, torch.zeros((), device=images.device), amount)


def colour(images: torch.Tensor, amount: np.ndarray) -> torch.Tensor:
    """Move away from grey, or towards it; grey images stay."""
    return images if images.shape[1] == 1 else _blend(images, _grey(images), amount)


def contrast(images: torch.Tensor, amount: np.ndarray) -> torch.Tensor:
    """Move away from the mean grey of the image, or towards it."""
    return _blend(images, _grey(images).mean(dim=(1, 2, 3), keepdim=True), amount)


def sharpness(images: torch.Tensor, amount: np.ndarray) -> torch.Tensor:
    """Move away from the blurred image, or towards it; the border stays."""
    if min(images.shape[-2:]) < 3:
        return images
    channels, values = images.shape[1], images.float()
    kernel = torch.ones(channels, 1, 3, 3, device=images.device)
    kernel[:, :, 1, 1] = CENTRE_WEIGHT
    blurred = functional.conv2d(values, kernel / (8 + CENTRE_WEIGHT), groups=channels).round()
    inner = values[:, :, 1:-1, 1:-1]
    inner += (blurred - inner) * _column((-amount).astype(np.float32), images)
    return values.clamp(0, BRIGHTEST).to(torch.uint8)


def posterize(images: torch.Tensor, amount: np.ndarray) -> torch.Tensor:
    """Keep the highest bits of every value; the amount says how many."""
    kept = (BRIGHTEST << (8 - amount.astype(np.int64))) & BRIGHTEST
    return images & _column(kept.astype(np.uint8), images)


def solarize(images: torch.Tensor, amount: np.ndarray) -> torch.Tensor:
    """Invert the values from `amount` · 255 on."""
    threshold = _column((amount * BRIGHTEST).astype(np.float32), images)
    return torch.where(images >= threshold, BRIGHTEST - images, images)


def solarize_add(images: torch.Tensor, amount: np.ndarray) -> torch.Tensor:
    """Add `amount`, 0 … 128, to the values of the darker half."""
    brighter = images + _column(amount.astype(np.uint8), images)
    return torch.where(images < DARKER_HALF, brighter, images)


def invert(images: torch.Tensor, _: np.ndarray) -> torch.Tensor:
    """Return the negative."""
    return BRIGHTEST - images


def auto_contrast(images: torch.Tensor, _: np.ndarray) -> torch.Tensor:
    """Stretch every channel to 0 … 255; one of a single value stays."""
    values = images.float()
    low = values.amin(dim=(2, 3), keepdim=True)
    span = values.amax(dim=(2, 3), keepdim=True) - low
    stretched = (values - low) / (span * (1 / BRIGHTEST)).clamp(min=1 / BRIGHTEST)
    return torch.where(span > 0, stretched.clamp(0, BRIGHTEST).to(torch.uint8), images)


def equalize(images: torch.Tensor, _: np.ndarray) -> torch.Tensor:
    """Spread every channel's values evenly, by Pillow's integer rule."""
    values = images.flatten(2).long()
    counts = values.new_zeros(*values.shape[:2], BRIGHTEST + 1)
    counts.scatter_add_(2, values, torch.ones_like(values))
    of_brightest = counts.gather(2, values.amax(dim=2, keepdim=True))
    step = (values.shape[2] - of_brightest) // BRIGHTEST
    below = counts.cumsum(dim=2) - counts
    table = ((below + step // 2) // step.clamp(min=1)).clamp(max=BRIGHTEST)
    spread = table.gather(2, values).view_as(images).to(torch.uint8)
    return torch.where(step[..., None] > 0, spread, images)


def grey(images: torch.Tensor, _: np.ndarray) -> torch.Tensor:
    """Give every channel the luma, by Pillow's integer rule."""
    if images.shape[1] == 1:
        return images
    red, green, blue = (images[:, i : i + 1].int() * LUMA_OF_65536[i] for i in range(3))
    return ((red + green + blue + HALF_OF_65536) >> 16).to(torch.uint8).expand_as(images)


def blur(images: torch.Tensor, amount: np.ndarray) -> torch.Tensor:
    """Convolve with a Gaussian whose standard deviation is `amount` pixels; the border goes on."""
    count, channels, height, width = images.shape
    reach = int(np.ceil(BLUR_REACH * amount.max(initial=0.0)))
    kernels = _gaussians(amount, reach).repeat_interleave(channels, dim=0).to(images.device)
    values = images.reshape(1, count * channels, height, width).float()
    values = functional.pad(values, (reach,) * 4, mode="replicate")
    values = functional.conv2d(values, kernels[:, None, :, None], groups=count * channels)
    values = functional.conv2d(values, kernels[:, None, None, :], groups=count * channels)
    return values.round().clamp(0, BRIGHTEST).to(torch.uint8).reshape_as(images)


def _gaussians(deviations: np.ndarray, reach: int) -> torch.Tensor:
    """Return (N, 2 · reach + 1) weights that sum to one."""
    places = torch.arange(-reach, reach + 1, dtype=torch.float32)
    weights = torch.exp(-0.5 * (places / torch.from_numpy(deviations).float()[:, None]) ** 2)
    return weights / weights.sum(dim=1, keepdim=True)


COLOUR: Final[Mapping[str, Callable[[torch.Tensor, np.ndarray], torch.Tensor]]] = {
    "brightness": brightness,
    "colour": colour,
    "contrast": contrast,
    "sharpness": sharpness,
    "posterize": posterize,
    "solarize": solarize,
    "auto_contrast": auto_contrast,
    "equalize": equalize,
    "solarize_add": solarize_add,
    "invert": invert,
    "grey": grey,
    "blur": blur,
}


def _grey(images: torch.Tensor) -> torch.Tensor:
    """Return whole grey values, (N, 1, H, W) float32."""
    if images.shape[1] == 1:
        return images.float()
    red, green, blue = (images[:, i : i + 1].float() * LUMA[i] for i in range(3))
    return (red + green + blue).floor()


def _blend(images: torch.Tensor, other: torch.Tensor, amount: np.ndarray) -> torch.Tensor:
    """Return other + (1 + amount) · (images − other), cut to whole values of a byte."""
    own = _column((1 + amount).astype(np.float32), images)
    others = _column((-amount).astype(np.float32), images)
    return (images * own + other * others).clamp(0, BRIGHTEST).to(torch.uint8)


def _column(values: np.ndarray, images: torch.Tensor) -> torch.Tensor:
    """Return one value an image, on its device, in the shape that meets images."""
    return torch.from_numpy(values).to(images.device, non_blocking=True).view(-1, 1, 1, 1)
