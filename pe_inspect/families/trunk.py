"""One reading of a checkpoint: what every family asks of it, and nothing that only one does."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final

from pe_inspect.families.reading.norms import Norms, read_norms
from pe_inspect.families.reading.tensors import NamedTensors
from pe_inspect.families.reading.tokens import (
    PrefixTokens,
    first_kernel,
    patch_kernel,
    patch_size,
    prefix_tokens,
)

__all__ = ["Trunk"]

_DECODER_OF_MAE: Final = re.compile(r"((module|model)\.)*decoder_pos_embed")
_TIMM_S_BLOCK: Final = re.compile(r"(.*\.)?blocks\.\d+\.attn\.qkv\.weight")
_PLAIN: Final = re.compile(
    r"(?:pos_embed|(?:cls|dist|reg|mask)_token"
    r"|(?:patch_embed\.proj|norm|fc_norm|head|head_dist)\.(?:weight|bias)"
    r"|blocks\.\d+\.(?:norm1|norm2|pe_norm|attn\.qkv|attn\.proj|mlp\.fc1|mlp\.fc2)\.(?:weight|bias)"
    r"|blocks\.\d+\.(?:gamma_[12]|ls[12]\.gamma))"
)


@dataclass(frozen=True, eq=False)
class Trunk(NamedTensors):
    """The vision trunk of a checkpoint, read once and handed to every family.

    It is built from a `Checkpoint`; each part is found out when it is first asked for, and kept.
    """

    @cached_property
    def prefix_tokens(self) -> PrefixTokens:
        """How many prefix tokens the file holds, by sort."""
        return prefix_tokens(self)

    @cached_property
    def patch_size(self) -> tuple[int, int] | None:
        """(height, width) in pixels of one step of the grid; `None` where nothing tells it."""
        return patch_size(self)

    @cached_property
    def patch_kernel(self) -> tuple[int, int] | None:
        """(height, width) of the kernel that cuts the image into patches side by side, if any."""
        return patch_kernel(self)

    @cached_property
    def first_kernel(self) -> tuple[int, int] | None:
        """(height, width) of the kernel that looks at the image; `None` behind a stem."""
        return first_kernel(self)

    @cached_property
    def is_plain(self) -> bool:
        """Whether every tensor has a name of timm's plain ViT."""
        return len(self.names) == len(self) and all(map(_PLAIN.fullmatch, self.names))

    @property
    def is_sized(self) -> bool:
        """Whether the size of the image or of its grid is said."""
        return self.hints.grid_size is not None or self.hints.img_size is not None

    @cached_property
    def told_flat(self) -> Trunk:
        """The trunk for readers of two axes: what is said of a grid of three is not for them."""
        said = self.hints.grid_size
        if said is None or len(said) == len(("rows", "columns")):
            return self
        hints = replace(self.hints, grid_size=None)
        return Trunk(replace(self.checkpoint, hints=hints))

    @cached_property
    def norms(self) -> Norms:
        """The norms by block, and where their eps comes from."""
        return read_norms(self)

    @cached_property
    def library(self) -> str | None:
        """The method of `interpolate` that is the library's; `None` where nothing tells."""
        return _by_config(self) or _by_tensors(self)


def _by_config(trunk: NamedTensors) -> str | None:
    """Tell timm's config.json, which names one architecture."""
    return "timm" if isinstance(trunk.config.get("architecture"), str) else None


def _by_tensors(trunk: NamedTensors) -> str | None:
    """Tell DINOv2 by its mask token's two axes, MAE by its decoder, Qwen3's ViT by its merger.

    Sources: the state dicts of facebookresearch/dinov2, facebookresearch/mae and timm's Qwen3 ViT.
    """
    names = trunk.names
    mask = names.get("mask_token")
    if mask is not None and len(trunk.shape(mask)) == 2:
        return "dinov2-reg" if "register_tokens" in names else "dinov2"
    if any(_DECODER_OF_MAE.fullmatch(key) for key in trunk):
        return "mae"
    return next((library for library, has in _SIGNS.items() if has(names)), None)


def _has_timm_s_names(names: Mapping[str, str]) -> bool:
    """Whether the trunk is named as in timm's ViT, whose loader takes such files."""
    has_patch = any(name.endswith("patch_embed.proj.weight") for name in names)
    return has_patch and any(map(_TIMM_S_BLOCK.fullmatch, names))


def _is_mmdit(names: Mapping[str, str]) -> bool:
    """Whether blocks have streams of image and text, and the image's patches a table."""
    return any(".x_block." in name for name in names) and any(
        name.endswith("x_embedder.proj.weight") for name in names
    )


def _is_torchvision_s(names: Mapping[str, str]) -> bool:
    return "conv_proj.weight" in names and any(".encoder_layer_0." in name for name in names)


def _is_google_s(names: Mapping[str, str]) -> bool:
    """Whether blocks are named as by vit_jax and big_vision: with slashes, an array each or all."""
    return any("Transformer/encoderblock" in key for key in names.values())


def _is_open_clip_s(names: Mapping[str, str]) -> bool:
    """Whether the vision tower is named as OpenAI's CLIP and open_clip name theirs."""
    has_blocks = any(name.startswith("transformer.resblocks.") for name in names)
    return has_blocks and {"class_embedding", "conv1.weight", "ln_pre.weight"} <= names.keys()


_SIGNS: Final[dict[str, Callable[[Mapping[str, str]], bool]]] = {
    "qwen": lambda names: "merger.norm.weight" in names,
    "clip": lambda names: any(".pre_layrnorm." in f".{name}" for name in names),
    "sd3": _is_mmdit,
    "torchvision": _is_torchvision_s,
    "jax": _is_google_s,
    "open_clip": _is_open_clip_s,
    "timm's names": _has_timm_s_names,
}
