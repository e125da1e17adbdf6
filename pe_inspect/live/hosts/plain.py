"""A host around any module that takes images and says how large they and its patches are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from torch import nn

from pe_inspect.kinds.position_embedding import PositionEmbedding
from pe_inspect.live.change import NotApplicable
from pe_inspect.live.hosts.common import pair_of_sides
from pe_inspect.live.hosts.hooked import HookedHost

__all__ = ["PlainHost", "first_convolution", "said_sides"]

_IMAGE_NAMES: Final = ("image_size", "img_size")
_PATCH_NAMES: Final = ("patch_size",)


class PlainHost(HookedHost):
    """A host around a model of no library that is known here: a repository's own ViT."""

    rule = "none that is known: the model runs at its own size"

    @classmethod
    def around(cls, model: nn.Module, tables: Sequence[PositionEmbedding]) -> PlainHost:
        """Return a host of a model, whatever it is.

        Raises:
            NotApplicable: it does not say how large its images or its patches are.
        """
        patch, size = _patch_of(model), said_sides(model, _IMAGE_NAMES) or _size_of(model, tables)
        projection = first_convolution(model)
        if patch is None or size is None or projection is None:
            raise NotApplicable(
                f"{type(model).__name__} does not say how large its images or its patches are "
                "(image_size, patch_size). Pass the checkpoint with --arch timm:NAME, or a model "
                "of timm, transformers, torchvision or open_clip."
            )
        classes = getattr(model, "num_classes", 0)
        return cls(
            model, tables, size, size, patch, projection.in_channels,
            classes if isinstance(classes, int) else 0,
        )  # fmt: skip

    def at(self, res: tuple[int, int]) -> PlainHost:
        """Return the same model at its own size.

        Raises:
            NotApplicable: another size is asked for; how the model resizes is not known.
        """
        if res != self.res:
            raise NotApplicable(
                f"{type(self.model).__name__} is at {self.res[0]}×{self.res[1]} pixels, and how it "
                "takes another size is not known here"
            )
        return self


def said_sides(model: nn.Module, names: Sequence[str]) -> tuple[int, int] | None:
    """Return (height, width) as the first module that has such an attribute says it."""
    held = (getattr(module, name, None) for module in model.modules() for name in names)
    return next((pair_of_sides(value) for value in held if _is_size(value)), None)


def first_convolution(model: nn.Module) -> nn.Conv2d | None:
    """Return the convolution that images go into."""
    return next((m for m in model.modules() if isinstance(m, nn.Conv2d)), None)


def _is_size(value: Any) -> bool:
    if isinstance(value, (tuple, list)):
        return len(value) == 2 and all(isinstance(side, int) for side in value)
    return isinstance(value, int) and not isinstance(value, bool)


def _patch_of(model: nn.Module) -> tuple[int, int] | None:
    """Return the patch as the model says it, else the stride of a kernel as large as it."""
    projection = first_convolution(model)
    is_whole = projection is not None and projection.kernel_size == projection.stride
    own = pair_of_sides(projection.stride) if projection is not None and is_whole else None
    return own or said_sides(model, _PATCH_NAMES)


def _size_of(model: nn.Module, tables: Sequence[PositionEmbedding]) -> tuple[int, int] | None:
    """Return the size of the images that a table is for."""
    patch = _patch_of(model)
    grid = next((pe.grid_size for pe in tables if pe.scheme_kind.has_token_rows), None)
    if patch is None or grid is None:
        return None
    return grid[0] * patch[0], grid[1] * patch[1]
