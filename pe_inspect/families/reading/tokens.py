"""The tokens of a model: those ahead of the patches, and how many pixels a patch is.

Prefix tokens (classes, distillation, registers) are counted by their shapes. One step of the grid
is the patch kernel's, or what is known of a stem: a kernel's size is its step only where patches
lie side by side. Behind a stem, and where patches overlap, it is not, and no file stores a step:
it is that of the family, or of the config.json.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import prod
from typing import Any, Final

from pe_inspect.families.reading.tensors import NamedTensors, answered_once

__all__ = [
    "PATCH_KERNELS",
    "PrefixTokens",
    "class_token",
    "first_kernel",
    "is_spectrogram_s",
    "known_step",
    "patch_kernel",
    "patch_size",
    "prefix_tokens",
]

PATCH_KERNELS: Final = (
    "patch_embed.proj.weight",
    "conv1.weight",
    "conv_proj.weight",
    "embeddings.patch_embeddings.projection.weight",
    "embeddings.patch_embedding.weight",
    "embeddings.projection.weight",  # VitDet's
    "embedding.conv1.weight",
    "features.0.0.weight",
)
_FLAX: Final = "embedding/kernel"  # (height, width, in, out)
_STEM: Final = re.compile(
    r"(?:(?:patch_embed|embeddings\.patch_embeddings)\.(?!proj(?:ection)?\.)|layer1\.0\.).*"
)
_VOLO_STEM: Final = "patch_embed.conv.0.weight"
_VOLO_STRIDE: Final = 2  # of that convolution; arXiv:2106.13112, appendix A
_VOLO_HALVING: Final = re.compile(r"network\.\d+\.proj\.weight")
_STEP_OF_SEVEN: Final = (4, 4)
"""A 7×7 kernel's: Hiera's (arXiv:2306.00989), MViTv2's (arXiv:2112.01526) and PVTv2's."""
_WIDENING: Final = re.compile(r"blocks\.\d+\.proj\.weight")
_MOST_BANDS: Final = 16  # of an image, spectral ones included
_CLS: Final = (
    "cls_token",
    "class_token",
    "class_embedding",
    "cls",
    "embeddings.cls_token",
    "embeddings.class_embedding",
    "embedding.cls_token",
    "embeds.cls_token",
    "cls_token1",  # CoaT's, one a stage
    "cls_token_0",  # CrossViT's, one a branch
    "class_emb",
)
_DISTILLATION: Final = ("dist_token", "embeddings.distillation_token")
_REGISTERS: Final = (
    "reg_token",
    "register_tokens",
    "storage_tokens",
    "embeddings.register_tokens",
    "embeds.reg_token",
)


@dataclass(frozen=True)
class PrefixTokens:
    """How many prefix tokens a file holds, by sort.

    Attributes:
        known: whether the file holds a model at all: a bare table says nothing of prefix tokens.
        covered: whether the table is known to have a row for each of them.
    """

    cls: int = 0
    distillation: int = 0
    registers: int = 0
    known: bool = True
    covered: bool = False

    @property
    def total(self) -> int:
        """All of them: timm's `num_prefix_tokens`."""
        return self.cls + self.distillation + self.registers

    def coverings(self, said: int | None) -> tuple[int, ...]:
        """How many prefix rows a table may have: all tokens, then fewer, then none.

        Args:
            said: `num_prefix_tokens` by a flag or a config.json; outranks what the file holds.
        """
        if said is not None and said != self.total:
            return tuple(dict.fromkeys((said, 0)))
        if self.covered:
            return (self.total,)
        own = (self.total, self.cls + self.distillation, self.cls, 0)
        return tuple(dict.fromkeys(own))


@answered_once
def prefix_tokens(tensors: NamedTensors) -> PrefixTokens:
    """Count the prefix tokens that a file holds, from their shapes."""
    return PrefixTokens(
        _count(tensors, _CLS),
        _count(tensors, _DISTILLATION),
        _count(tensors, _REGISTERS),
        known=len(tensors) > 1,
    )


def class_token(tensors: NamedTensors) -> str | None:
    """Return the checkpoint's name of its class token, where it holds one."""
    return next((tensors.names[name] for name in _CLS if name in tensors.names), None)


def _count(tensors: NamedTensors, names: tuple[str, ...]) -> int:
    keys = tensors.names
    shapes = [tensors.shape(keys[name]) for name in names if name in keys]
    return (shapes[0][-2] if len(shapes[0]) > 1 else 1) if shapes else 0


@answered_once
def patch_size(trunk: NamedTensors) -> tuple[int, int] | None:
    """Return (height, width) in pixels of one step of the grid; `None` where nothing tells it.

    A flag outranks the file. What else is said does not outrank the file's own kernel, and where
    it is the size of a kernel that overlaps, it is no step.
    """
    said, first = trunk.hints.patch_size, first_kernel(trunk)
    if trunk.hints.is_flag("patch_size"):
        return said
    return known_step(trunk) or (None if said == first else said)


def known_step(trunk: NamedTensors) -> tuple[int, int] | None:
    """Return (height, width) in pixels of one step as the file and its family tell it."""
    return patch_kernel(trunk) or _overlapping_step(trunk)


@answered_once
def patch_kernel(trunk: NamedTensors) -> tuple[int, int] | None:
    """Return (height, width) of the kernel that cuts the image into patches side by side.

    `None` behind a stem, and where patches overlap. One of odd sides might: of a pyramid it does,
    and else a patch size that is said, and differs, tells that it does.
    """
    kernel, said = first_kernel(trunk), trunk.hints.patch_size
    if kernel is None or is_spectrogram_s(trunk):
        return None
    if any(side % 2 for side in kernel):
        return None if said not in (None, kernel) or _is_pyramid(trunk) else kernel
    return kernel


def _is_pyramid(trunk: NamedTensors) -> bool:
    """Whether blocks widen on the way, by stages or, as Hiera's, by a projection of their own."""
    has_stages = any(name.startswith("stages.") for name in trunk.blocks)
    return has_stages or bool(trunk.matching(_WIDENING))


@answered_once
def first_kernel(trunk: NamedTensors) -> tuple[int, int] | None:
    """Return (height, width) of the kernel that looks at the image; `None` behind a stem."""
    shape = _shape(trunk)
    return None if shape is None or _is_of_features(shape) else (shape[2], shape[3])


def _shape(trunk: NamedTensors) -> tuple[int, ...] | None:
    """Return (out, in, height, width) of the kernel that looks at the image."""
    names = trunk.names
    if _has_stem(trunk):
        return None
    if _FLAX in names:
        shape = trunk.shape(names[_FLAX])
        return (shape[3], shape[2], shape[0], shape[1]) if len(shape) == 4 else None
    shapes = (trunk.shape(names[name]) for name in PATCH_KERNELS if name in names)
    return next((shape for shape in shapes if len(shape) == 4), None)


def _is_of_features(shape: tuple[int, ...] | None) -> bool:
    """Whether a kernel of one pixel reads what a backbone made, and no image (R50+ViT-B/16)."""
    return shape is not None and shape[2:] == (1, 1) and shape[1] > _MOST_BANDS


def _has_stem(trunk: NamedTensors) -> bool:
    """Whether further convolutions lie before the one that makes patches."""
    return any(len(trunk.shape(each.key)) == 4 for each in trunk.matching(_STEM))


def _overlapping_step(trunk: NamedTensors) -> tuple[int, int] | None:
    """Return the step of patches that overlap or lie behind a stem, where it is known."""
    if (step := _step_of_volo(trunk)) is not None:
        return step
    if (stride := _pair(trunk.vision_config.get("patch_stride"))) is not None:
        return stride
    is_theirs = first_kernel(trunk) == (7, 7) and _is_pyramid(trunk)
    return _STEP_OF_SEVEN if is_theirs else None


def _step_of_volo(trunk: NamedTensors) -> tuple[int, int] | None:
    """VOLO's table lies behind a stem, the patches, and a convolution that halves the grid."""
    names = trunk.names
    inner = (PATCH_KERNELS[0], *(each.bare for each in trunk.matching(_VOLO_HALVING)))
    shapes = [trunk.shape(names[name]) for name in inner if name in names]
    if _VOLO_STEM not in names or not all(len(shape) == 4 for shape in shapes):
        return None
    rows, columns = (_VOLO_STRIDE * prod(sides) for sides in list(zip(*shapes))[2:])
    return rows, columns


def is_spectrogram_s(trunk: NamedTensors) -> bool:
    """Whether patches overlap on a spectrogram, as AST's do: kernel 16, stride 10.

    The config.json says so; of a file alone, one channel and DeiT's two tokens do.
    Source: arXiv:2104.01778, section 2.1.
    """
    settings = trunk.vision_config
    strides = (settings.get("frequency_stride"), settings.get("time_stride"))
    if None not in strides:
        return strides != first_kernel(trunk)
    shape = _shape(trunk)
    is_grey = shape is not None and shape[1] == 1
    return is_grey and any(name in trunk.names for name in _DISTILLATION)


def _pair(value: Any) -> tuple[int, int] | None:
    sides = tuple(value) if isinstance(value, list | tuple) else (value, value)
    if len(sides) != 2 or not all(type(side) is int and side > 0 for side in sides):
        return None
    return sides[0], sides[1]
