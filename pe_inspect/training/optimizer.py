"""AdamW with decay for weight matrices alone, and the running average of weights."""

from __future__ import annotations

import copy

import torch

from pe_inspect.models.vit import VisionTransformer

__all__ = ["RunningAverage", "adamw", "parameter_groups"]


def adamw(
    model: VisionTransformer, *, lr: float, weight_decay: float, device: torch.device
) -> torch.optim.AdamW:
    """Return AdamW over the model's parameters, in one kernel where the device has one."""
    groups = parameter_groups(model, weight_decay)
    return torch.optim.AdamW(groups, lr=lr, fused=device.type in ("cpu", "cuda"))


def parameter_groups(model: VisionTransformer, weight_decay: float) -> list[dict[str, object]]:
    """Split the parameters: weight matrices decay; norms, biases and embeddings do not."""
    embeddings = model.no_weight_decay()
    kept: list[torch.nn.Parameter] = []
    decayed: list[torch.nn.Parameter] = []
    for name, parameter in model.named_parameters():
        (kept if parameter.ndim < 2 or name in embeddings else decayed).append(parameter)
    return [
        {"params": decayed, "weight_decay": weight_decay},
        {"params": kept, "weight_decay": 0.0},
    ]


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
