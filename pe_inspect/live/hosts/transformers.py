"""Models of Hugging Face's transformers as hosts."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import torch

from pe_inspect.arrays import Float
from pe_inspect.kinds.position_embedding import PositionEmbedding
from pe_inspect.live.change import NotApplicable
from pe_inspect.live.hosts.common import is_of_library, pair_of_sides
from pe_inspect.live.hosts.hooked import HookedHost

__all__ = ["TransformersHost"]


class TransformersHost(HookedHost):
    """A host around a vision model of transformers."""

    library = "transformers"
    rule = "the interpolation of positions that transformers has for this model"

    @classmethod
    def around(cls, model: Any, tables: Sequence[PositionEmbedding]) -> TransformersHost | None:
        """Return a host of a model of transformers; `None` of any other.

        Raises:
            NotApplicable: it takes no images, or does not say how large they are.
        """
        if not is_of_library(model, "transformers"):
            return None
        config = model.config
        if model.main_input_name != "pixel_values":
            raise NotApplicable(
                f"{type(model).__name__} takes {model.main_input_name}, not images: only the "
                "questions about its weights apply."
            )
        size = getattr(config, "image_size", None)
        patch = getattr(config, "patch_stride", None) or getattr(config, "patch_size", None)
        if size is None or patch is None:
            raise NotApplicable(f"{type(model).__name__} does not say its image or patch size.")
        own = pair_of_sides(size)
        classes = int(config.num_labels) if hasattr(model, "classifier") else 0
        return cls(model, tables, own, own, pair_of_sides(patch), config.num_channels, classes)

    def at(self, res: tuple[int, int]) -> TransformersHost:
        """Return the same model at another size, where transformers interpolates its positions.

        Raises:
            NotApplicable: the size is no whole number of patches.
        """
        if any(side % patch for side, patch in zip(res, self.patch_size)):
            raise NotApplicable(
                f"{res[0]}×{res[1]} pixels are no whole number of patches of "
                f"{self.patch_size[0]}×{self.patch_size[1]}"
            )
        return TransformersHost(
            self.model, self.tables, res, self.own_res, self.patch_size, self.in_chans,
            self.num_classes,
        )  # fmt: skip

    def run(self, images: Float[torch.Tensor, "batch channels height width"]) -> torch.Tensor:
        """Return the logits, or the features of every token where there is no classifier."""
        output = self.model(images, **self._arguments(len(images)))
        logits: torch.Tensor | None = getattr(output, "logits", None)
        features: torch.Tensor = output.last_hidden_state if logits is None else logits
        return features

    def _arguments(self, count: int) -> dict[str, Any]:
        """What the model's forward is handed beside images."""
        known = inspect.signature(self.model.forward).parameters
        given: dict[str, Any] = {}
        if "interpolate_pos_encoding" in known and self.res != self.own_res:
            given["interpolate_pos_encoding"] = True
        if "noise" in known:  # MAE shuffles patches by it: in order
            patches = self.grid_size[0] * self.grid_size[1]
            order = torch.arange(patches, dtype=torch.float32)
            given["noise"] = order.expand(count, -1)
        return given
