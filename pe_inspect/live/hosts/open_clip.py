"""open_clip's vision towers as hosts."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

from torch import nn

from pe_inspect.kinds.position_embedding import PositionEmbedding
from pe_inspect.live.change import NotApplicable
from pe_inspect.live.hosts.common import Preprocessing, is_of_library, pair_of_sides
from pe_inspect.live.hosts.hooked import HookedHost

__all__ = ["OpenClipHost", "vision_tower"]


def vision_tower(model: Any) -> Any:
    """Return the part of a model of open_clip that images go into; other models as they are.

    Where that is a model of timm, it is timm's.
    """
    if not is_of_library(model, "open_clip"):
        return model
    visual = getattr(model, "visual", model)
    return getattr(visual, "trunk", visual)


class OpenClipHost(HookedHost):
    """A host around a vision tower of open_clip; its output is the embedding of an image."""

    library = "open_clip"
    rule = "open_clip's resize_pos_embed: bicubic, antialiased"

    @classmethod
    def around(cls, model: Any, tables: Sequence[PositionEmbedding]) -> OpenClipHost | None:
        """Return a host of a vision tower of open_clip; `None` of any other model.

        Raises:
            NotApplicable: the tower is a convolutional one.
        """
        if not is_of_library(model, "open_clip"):
            return None
        if not hasattr(model, "patch_size"):
            raise NotApplicable(
                f"{type(model).__name__} of open_clip has no patches: only the questions about "
                "its weights apply."
            )
        own = pair_of_sides(model.image_size)
        return cls(
            model, tables, own, own, pair_of_sides(model.patch_size), model.conv1.in_channels, 0
        )

    @property
    def preprocessing(self) -> Preprocessing:
        """As the model says it, else OpenAI's; the shorter side is resized and the middle cut."""
        from open_clip.constants import OPENAI_DATASET_MEAN, OPENAI_DATASET_STD

        mean = getattr(self.model, "image_mean", None) or OPENAI_DATASET_MEAN
        std = getattr(self.model, "image_std", None) or OPENAI_DATASET_STD
        return Preprocessing(tuple(mean), tuple(std), "open_clip", min(self.res))

    def at(self, res: tuple[int, int]) -> OpenClipHost:
        """Return a copy at another size, its table resized by open_clip's own rule.

        Raises:
            NotApplicable: the size is no whole number of patches.
        """
        if res == self.res:
            return self
        if any(side % patch for side, patch in zip(res, self.patch_size)):
            raise NotApplicable(
                f"{res[0]}×{res[1]} pixels are no whole number of patches of "
                f"{self.patch_size[0]}×{self.patch_size[1]}"
            )
        return OpenClipHost(
            self._resized(res), self.tables, res, self.own_res, self.patch_size, self.in_chans, 0
        )

    def _resized(self, res: tuple[int, int]) -> Any:
        from open_clip.model import resize_pos_embed

        model = copy.deepcopy(self.model)
        grid = (res[0] // self.patch_size[0], res[1] // self.patch_size[1])
        state = {"visual.positional_embedding": model.positional_embedding.detach()}
        resize_pos_embed(state, SimpleNamespace(visual=SimpleNamespace(grid_size=grid)))
        table = state["visual.positional_embedding"]
        model.positional_embedding = nn.Parameter(table, requires_grad=False)
        model.image_size, model.grid_size = res, grid
        return model
