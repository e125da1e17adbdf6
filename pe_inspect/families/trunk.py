"""One reading of a checkpoint: what every family asks of it, and nothing that only one does."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from pe_inspect.families.reading.norms import Norms, read_norms
from pe_inspect.families.reading.patch import first_kernel, patch_kernel, patch_size
from pe_inspect.families.reading.prefix import PrefixTokens, prefix_tokens
from pe_inspect.families.reading.tensors import NamedTensors

__all__ = ["Trunk"]

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
        """Whether every tensor has a name of timm's plain ViT, and the size of its image is said.

        Nothing is left to find by structure then.
        """
        is_said = self.hints.grid_size is not None or self.hints.img_size is not None
        return is_said and len(self.names) == len(self) and all(map(_PLAIN.fullmatch, self.names))

    @cached_property
    def norms(self) -> Norms:
        """The norms by block, and where their eps comes from."""
        return read_norms(self)
