"""The position embedding of a model in training, as the container that analyses are handed."""

from __future__ import annotations

from typing import Final

from pe_inspect.families import extract
from pe_inspect.kinds.position_embedding import PositionEmbedding
from pe_inspect.loading import Checkpoint, Hints
from pe_inspect.models.config import ViTConfig
from pe_inspect.models.vit import VisionTransformer

__all__ = ["snapshot"]

_TOLD: Final = (
    "grid_size",
    "img_size",
    "patch_size",
    "num_prefix_tokens",
    "num_heads",
    "join",
    "ln_eps",
)


def snapshot(model: VisionTransformer, source: str) -> PositionEmbedding:
    """Copy the position embedding and every LayerNorm out of a live model.

    Args:
        model: a native ViT.
        source: what to call it, e.g. `"digits-lape, epoch 3"`.
    """
    state = {key: value.detach().cpu().clone() for key, value in model.state_dict().items()}
    checkpoint = Checkpoint.from_state_dict(state, source=source, hints=_hints(model.config))
    return extract(checkpoint)[0]


def _hints(shape: ViTConfig) -> Hints:
    told = {name: getattr(shape, name) for name in _TOLD}
    return Hints(**told, origins=dict.fromkeys(told, "the model in training"))
