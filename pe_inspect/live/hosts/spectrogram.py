"""transformers' spectrogram models (AST) as hosts: their images are frequency × time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from pe_inspect.arrays import Float
from pe_inspect.kinds.position_embedding import PositionEmbedding
from pe_inspect.live.change import NotApplicable
from pe_inspect.live.hosts.common import is_of_library
from pe_inspect.live.hosts.hooked import HookedHost

__all__ = ["SpectrogramHost"]


class SpectrogramHost(HookedHost):
    """A host around AST: normalised spectrograms come as (batch, 1, mel bins, frames).

    Its patches overlap: they are `patch_size` large, and `strides` apart.
    """

    library = "transformers"
    rule = "none: a spectrogram model runs at the length of its weights"
    strides: tuple[int, int] = (1, 1)

    @classmethod
    def around(cls, model: Any, tables: Sequence[PositionEmbedding]) -> SpectrogramHost | None:
        """Return a host of a model that takes spectrograms; `None` of any other."""
        config: Any = getattr(model, "config", None)
        if not is_of_library(model, "transformers") or not hasattr(config, "num_mel_bins"):
            return None
        if not hasattr(config, "frequency_stride"):
            return None
        own = (config.num_mel_bins, config.max_length)
        side = int(config.patch_size)
        classes = int(config.num_labels) if hasattr(model, "classifier") else 0
        host = cls(model, tables, own, own, (side, side), 1, classes)
        host.strides = (config.frequency_stride, config.time_stride)
        return host

    @property
    def grid_size(self) -> tuple[int, int]:
        """(rows, columns): patches along frequency, and along time."""
        rows, columns = (
            (side - patch) // stride + 1
            for side, patch, stride in zip(self.res, self.patch_size, self.strides)
        )
        return rows, columns

    def at(self, res: tuple[int, int]) -> SpectrogramHost:
        """Return the model at its own size.

        Raises:
            NotApplicable: another one is asked for.
        """
        if res != self.res:
            raise NotApplicable(
                f"{type(self.model).__name__} takes {self.res[0]} mel bins × {self.res[1]} frames "
                "alone"
            )
        return self

    def run(self, images: Float[torch.Tensor, "batch channels height width"]) -> torch.Tensor:
        """Return the logits, or the features of every token where there is no classifier."""
        output = self.model(images[:, 0].transpose(1, 2))  # it takes frames × mel bins
        logits: torch.Tensor | None = getattr(output, "logits", None)
        features: torch.Tensor = output.last_hidden_state if logits is None else logits
        return features
