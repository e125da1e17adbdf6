"""Where the weights of a run start: as timm's models, or as in the code that a recipe cites."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import torch
from timm.layers.weight_init import trunc_normal_
from torch import nn

from pe_inspect.models.vit import VisionTransformer
from pe_inspect.training.recipe import Recipe

__all__ = ["initial_model"]


def initial_model(recipe: Recipe) -> VisionTransformer:
    """Initialise from the recipe's seed, and leave the caller's random state as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        model = VisionTransformer(recipe.model)
        _STARTS[recipe.start](model)
    return model


def _as_timm(_model: VisionTransformer) -> None:
    """What the model has drawn already."""


def _as_schh(model: VisionTransformer) -> None:
    """Convolutions start like linear layers: tokens a quarter of what torch's start gives."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            trunc_normal_(module.weight, std=0.02)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def _as_lape(model: VisionTransformer) -> None:
    """Biases by offset start at zero."""
    for name, parameter in model.named_parameters():
        if name.endswith("relative_position_bias_table"):
            nn.init.zeros_(parameter)


_STARTS: Final[Mapping[str, Callable[[VisionTransformer], None]]] = {
    "timm": _as_timm,
    "schh": _as_schh,
    "lape": _as_lape,
}
