"""AdamW or LAMB, which parameters decay, and the running average of weights."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Final

import torch
from timm.optim.lamb import Lamb

from pe_inspect.models.vit import VisionTransformer
from pe_inspect.training.recipe import Recipe

__all__ = ["RunningAverage", "make_optimizer", "parameter_groups"]

LAMB_EPS: Final = 1e-8  # DeiT III's


def make_optimizer(
    model: VisionTransformer, recipe: Recipe, device: torch.device
) -> torch.optim.Optimizer:
    """Return the optimizer of a recipe over the model's parameters.

    AdamW runs in one kernel where the device has one. LAMB (arXiv:1904.00962) is timm's; it leaves
    what does not decay without a trust ratio, and clipping to `clip_grad`.
    """
    groups = parameter_groups(model, recipe.weight_decay, recipe.decayed)
    if recipe.optimizer == "lamb":
        return Lamb(groups, lr=recipe.lr, eps=LAMB_EPS, max_grad_norm=None)
    return torch.optim.AdamW(groups, lr=recipe.lr, fused=device.type in ("cpu", "cuda"))


def parameter_groups(
    model: VisionTransformer, weight_decay: float, decayed: str = "matrices"
) -> list[dict[str, object]]:
    """Split the parameters into those that decay and those that do not.

    Args:
        model: whose they are.
        weight_decay: of the former.
        decayed: a recipe's word for which they are.
    """
    spared = _SPARED[decayed](model)
    named = list(model.named_parameters())
    return [
        {"params": [p for name, p in named if name not in spared], "weight_decay": weight_decay},
        {"params": [p for name, p in named if name in spared], "weight_decay": 0.0},
    ]


def _norms_and_biases(model: VisionTransformer) -> set[str]:
    return {name for name, parameter in model.named_parameters() if parameter.ndim < 2}


_SPARED: Final[Mapping[str, Callable[[VisionTransformer], set[str]]]] = {
    "matrices": lambda model: _norms_and_biases(model) | model.no_weight_decay(),
    "deit": lambda model: _norms_and_biases(model) | {"pos_embed", "cls_token"},
    "all": lambda _model: set(),
}


class RunningAverage:
    """An exponential running average of a model's weights.

    The decay of step t is min(decay, (1 + t) / (10 + t)), so that the average of a short run is
    not the random beginning. Source: TensorFlow's `ExponentialMovingAverage`, `num_updates`.

    Args:
        model: what is averaged; the average begins as its copy.
        decay: what remains of the average at each step, 0 … 1.
    """

    def __init__(self, model: VisionTransformer, decay: float) -> None:
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self.decay = decay
        self._ours: list[torch.Tensor] = list(self.model.parameters())
        self._theirs: list[torch.Tensor] = list(model.parameters())

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Move the average towards the weights after `step`, counted from 0."""
        weight = 1 - min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(self._ours, self._theirs, weight)
