"""The grids of Hugging Face models whose image size and patch size alone do not tell them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import isqrt
from typing import Any, Final

__all__ = ["stated_grid"]

Settings = Mapping[str, Any]
Grid = tuple[int, int]
BEYOND: Final = 1 << 31


def stated_grid(settings: Settings) -> Grid | None:
    """Return (H, W) patches of the position table where a configuration's own rule tells it.

    Args:
        settings: one model's configuration, with its `model_type`.
    """
    said = settings.get("model_type")
    rule = _RULES.get(said) if isinstance(said, str) else None
    try:
        grid = rule(settings) if rule else None
    except (KeyError, TypeError, ValueError, ArithmeticError):
        return None
    return grid if grid and min(grid) > 0 and max(grid) < BEYOND else None


def _spectrogram(settings: Settings) -> Grid:
    """AST's patches overlap; rows are frequencies, columns are times."""
    patch = settings["patch_size"]
    rows = (settings["num_mel_bins"] - patch) // settings["frequency_stride"] + 1
    return rows, (settings["max_length"] - patch) // settings["time_stride"] + 1


def _strided(settings: Settings) -> Grid:
    """Hiera's patches overlap: kernel 7, stride 4, padding 3."""
    sides = [_two_sides(settings[key]) for key in ("image_size", "patch_size", "patch_stride")]
    padding = _two_sides(settings["patch_padding"])
    rows, columns = (
        (image + 2 * pad - kernel) // stride + 1
        for image, kernel, stride, pad in zip(*sides, padding)
    )
    return rows, columns


def _pretrained(settings: Settings) -> Grid:
    """VitDet, LW-DETR and SAM 3 keep the table of the size that they were pre-trained on."""
    image, patch = _two_sides(settings["pretrain_image_size"]), _two_sides(settings["patch_size"])
    return image[0] // patch[0], image[1] // patch[1]


def _square(settings: Settings) -> Grid | None:
    """SigLIP2's NaFlex models state the number of patches, a square."""
    side = isqrt(settings["num_patches"])
    return (side, side) if side * side == settings["num_patches"] else None


def _two_sides(value: Any) -> Grid:
    first, second = (value, value) if isinstance(value, int) else value
    return int(first), int(second)


_RULES: Final[dict[str, Callable[[Settings], Grid | None]]] = {
    "audio-spectrogram-transformer": _spectrogram,
    "hiera": _strided,
    "lw_detr_vit": _pretrained,
    "sam3_vit_model": _pretrained,
    "vitdet": _pretrained,
    "siglip2_vision_model": _square,
}
