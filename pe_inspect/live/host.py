"""What a live model must offer so that its positions can be exchanged: the `Host`."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Protocol, runtime_checkable

from torch import nn

from pe_inspect.errors import UsageError
from pe_inspect.kinds.position_embedding import PositionEmbedding
from pe_inspect.live.change import Change

__all__ = ["Host", "NotApplicable", "host_of"]


class NotApplicable(UsageError):
    """A condition that has no meaning for this scheme, or that this model cannot be put under."""


@runtime_checkable
class Host(Protocol):
    """A live model whose positions can be exchanged for a while."""

    @property
    def model(self) -> nn.Module:
        """Takes normalised images and returns logits."""
        ...

    @property
    def res(self) -> tuple[int, int]:
        """(height, width) in pixels that the model is at."""
        ...

    @property
    def own_res(self) -> tuple[int, int]:
        """(height, width) of its weights."""
        ...

    @property
    def patch_size(self) -> tuple[int, int]:
        """(height, width) of a patch in pixels."""
        ...

    @property
    def in_chans(self) -> int:
        """Colour channels."""
        ...

    @property
    def num_classes(self) -> int:
        """Classes of its logits."""
        ...

    @property
    def rule(self) -> str:
        """What the model itself does at another size, in words."""
        ...

    def at(self, res: tuple[int, int]) -> Host:
        """Return a host at another image size, by the model's own rule.

        Raises:
            NotApplicable: the model has no such rule.
        """
        ...

    def grid_of(self, pe: PositionEmbedding) -> tuple[int, int]:
        """Return the grid that an embedding has at this size: of a windowed bias, the window."""
        ...

    def put(
        self, pe: PositionEmbedding, resampled: PositionEmbedding
    ) -> AbstractContextManager[None]:
        """Let the model use tables that were resampled to the grid that it is at.

        Args:
            pe: the embedding as the checkpoint has it.
            resampled: the same embedding on the grid that the model is at.

        Raises:
            NotApplicable: it has no place for them.
        """
        ...

    def change(self, change: Change) -> AbstractContextManager[None]:
        """Let the model receive changed positions.

        Raises:
            NotApplicable: the change has no meaning for its scheme.
        """
        ...


def host_of(model: nn.Module, tables: Sequence[PositionEmbedding]) -> Host:
    """Return the host of a rebuilt model.

    Args:
        model: as `pe_inspect.rebuild` made it, on its device.
        tables: the position embeddings found in its checkpoint.

    Raises:
        NotApplicable: nothing says how large its images or patches are.
    """
    from pe_inspect.live.hosts.native import NativeHost
    from pe_inspect.live.hosts.timm import TimmHost
    from pe_inspect.models.vit import VisionTransformer

    if isinstance(model, VisionTransformer):
        return NativeHost(model, tables)
    return TimmHost.around(model, tables)
