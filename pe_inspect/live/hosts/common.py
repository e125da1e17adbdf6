"""What every host tells of its model in the same way."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import torch

from pe_inspect.arrays import Float
from pe_inspect.live.anatomy import Anatomy, anatomy_of
from pe_inspect.live.change import NotApplicable
from pe_inspect.live.fresh import freshened

__all__ = ["IMAGENET", "CommonHost", "Preprocessing", "is_of_library", "pair_of_sides"]


@dataclass(frozen=True)
class Preprocessing:
    """How images become what a model takes.

    Attributes:
        mean: what becomes 0 in each channel, on [0, 1].
        std: what becomes 1 in each channel, on [0, 1].
        said_by: who says so; `""` for a guess.
        crop_to: the side of the resized image that a middle square is cut from; `None` to resize
            directly to the model's size.
        filter: Pillow's filter.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    said_by: str = ""
    crop_to: int | None = None
    filter: str = "bicubic"

    @property
    def in_words(self) -> str:
        """What is done, in one line."""
        size = f"shorter side to {self.crop_to}, middle cut out" if self.crop_to else "directly"
        by = self.said_by or "no file says otherwise: ImageNet's mean and σ"
        return f"resized {size} ({self.filter}, on uint8); {by}"


IMAGENET: Final = Preprocessing((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_GREY: Final = Preprocessing((0.449,), (0.226,))


_CLS_NAMES: Final = ("cls_token", "class_token", "class_embedding")


# What a model raises that is given images of a size or kind that it does not take.
_FAILURES: Final = (
    *(AssertionError, AttributeError, IndexError, RuntimeError, TypeError, ValueError),
)


class CommonHost:
    """The parts of a host that no library has differently.

    Attributes:
        model: the live model.
        res: (height, width) in pixels that it is at.
        patch_size: (height, width) in pixels.
        in_chans: colour channels.
        library: whose model it is.
    """

    model: Any
    res: tuple[int, int]
    patch_size: tuple[int, int]
    in_chans: int
    library: str = ""

    @property
    def grid_size(self) -> tuple[int, int]:
        """(rows, columns) of patches at the model's input."""
        return self.res[0] // self.patch_size[0], self.res[1] // self.patch_size[1]

    @property
    def preprocessing(self) -> Preprocessing:
        """As what it was rebuilt from says, else ImageNet's mean and σ; grey has their means."""
        said = getattr(self.model, "pe_inspect_preprocessing", None)
        if isinstance(said, Preprocessing):
            return said
        return IMAGENET if self.in_chans > 1 else _GREY

    @property
    def has_cls(self) -> bool:
        """Whether the first prefix token is a CLS token."""
        names = (name for name, _ in self.model.named_parameters())
        is_there = any(name.endswith(_CLS_NAMES) for name in names)
        return is_there and self.num_prefix_tokens > 0

    def run(self, images: Float[torch.Tensor, "batch channels height width"]) -> Any:
        """Run the model on normalised images of its size."""
        return self.model(images)

    def blank(self, count: int = 1) -> Float[torch.Tensor, "batch channels height width"]:
        """Return images of the preprocessing's mean colour."""
        parameter = next(self.model.parameters())
        return torch.zeros(
            count, self.in_chans, *self.res, device=parameter.device, dtype=parameter.dtype
        )

    def untrained(self, seed: int) -> Any:
        """Return a host of a model of the same shape with fresh weights, at the same size."""
        host = copy.copy(self)
        for name in self.read_off_model:
            vars(host).pop(name, None)
        host.model = freshened(self.model, seed)
        return host

    @property
    def read_off_model(self) -> Iterator[str]:
        """The names of what was found out about the model once, and would be of another."""
        held = {name for base in type(self).__mro__ for name, value in vars(base).items()
                if isinstance(value, cached_property)}  # fmt: skip
        yield from held

    @cached_property
    def anatomy(self) -> Anatomy:
        """The blocks, norms and attentions of the model, in the order that they run in.

        Raises:
            NotApplicable: it does not run on an image of its size.
        """
        try:
            return anatomy_of(self.model, lambda: self.run(self.blank()))
        except (
            AssertionError,
            AttributeError,
            IndexError,
            RuntimeError,
            TypeError,
            ValueError,
        ) as error:
            raise NotApplicable(
                f"{type(self.model).__name__} does not run on an image of {self.res[0]}×"
                f"{self.res[1]} pixels ({str(error).splitlines()[0]})."
            ) from error

    @property
    def num_prefix_tokens(self) -> int:
        """Tokens ahead of the patches."""
        return self.counted_prefix_tokens()

    def counted_prefix_tokens(self) -> int:
        """Return what the first block has beyond the grid."""
        blocks = self.anatomy.blocks
        patches = self.grid_size[0] * self.grid_size[1]
        return max(0, blocks[0].tokens - patches) if blocks else 0


def is_of_library(model: Any, name: str) -> bool:
    """Whether the class of a model, or one that it derives from, is of a library."""
    return any(base.__module__.partition(".")[0] == name for base in type(model).__mro__)


def pair_of_sides(size: Any) -> tuple[int, int]:
    """Return (height, width) of a side or a pair."""
    sides = tuple(size) if isinstance(size, (tuple, list)) else (size, size)
    return int(sides[0]), int(sides[1])
