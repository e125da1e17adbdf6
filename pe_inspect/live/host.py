"""What a live model must offer so that its positions can be exchanged: the `Host`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Final, Protocol, runtime_checkable

import torch
from torch import nn

from pe_inspect.arrays import Float
from pe_inspect.kinds.position_embedding import PositionEmbedding
from pe_inspect.live.anatomy import Anatomy
from pe_inspect.live.change import Change
from pe_inspect.live.hosts.common import Preprocessing
from pe_inspect.live.hosts.native import NativeHost
from pe_inspect.live.hosts.open_clip import OpenClipHost, vision_tower
from pe_inspect.live.hosts.plain import PlainHost
from pe_inspect.live.hosts.spectrogram import SpectrogramHost
from pe_inspect.live.hosts.timm import TimmHost
from pe_inspect.live.hosts.torchvision import TorchvisionHost
from pe_inspect.live.hosts.transformers import TransformersHost

__all__ = ["Host", "host_of"]


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
    def library(self) -> str:
        """Whose model it is, by the library's name; ours is `"native"`."""
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

    @property
    def num_prefix_tokens(self) -> int:
        """Tokens ahead of the patches: CLS, DIST, registers."""
        ...

    @property
    def has_cls(self) -> bool:
        """Whether the first of them is a CLS token."""
        ...

    @property
    def grid_size(self) -> tuple[int, int]:
        """(rows, columns) of patches at the model's input."""
        ...

    @property
    def anatomy(self) -> Anatomy:
        """The blocks, with their norms and attentions, and the last norm."""
        ...

    @property
    def preprocessing(self) -> Preprocessing:
        """How images become what the model takes."""
        ...

    def run(self, images: Float[torch.Tensor, "batch channels height width"]) -> Any:
        """Run the model on normalised images of the size that it is at."""
        ...

    def blank(self, count: int = 1) -> Float[torch.Tensor, "batch channels height width"]:
        """Return images of the preprocessing's mean colour, on the model's device."""
        ...

    def at(self, res: tuple[int, int]) -> Host:
        """Return a host at another image size, by the model's own rule.

        Raises:
            NotApplicable: the model has no such rule.
        """
        ...

    def untrained(self, seed: int) -> Host:
        """Return a host of a model of the same shape with fresh weights, at the same size."""
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
        model: as `pe_inspect.rebuild` made it, or of any library, on its device.
        tables: the position embeddings found in its checkpoint.

    Raises:
        NotApplicable: nothing says how large its images or patches are.
    """
    tower = vision_tower(model)
    return next(host for around in _HOSTS if (host := around(tower, tables)) is not None)


_HOSTS: Final[tuple[Callable[[nn.Module, Sequence[PositionEmbedding]], Host | None], ...]] = (
    *(NativeHost.around, SpectrogramHost.around, TransformersHost.around),
    *(TorchvisionHost.around, OpenClipHost.around, TimmHost.around, PlainHost.around),
)
