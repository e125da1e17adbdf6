"""One reading of a checkpoint: what every family asks of it, and nothing that only one does."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from pe_inspect.families.reading.norms import Norms, read_norms
from pe_inspect.families.reading.patch import first_kernel, patch_kernel, patch_size
from pe_inspect.families.reading.prefix import PrefixTokens, prefix_tokens
from pe_inspect.families.reading.tensors import NamedTensors

__all__ = ["Trunk"]


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
    def norms(self) -> Norms:
        """The norms by block, and where their eps comes from."""
        return read_norms(self)
