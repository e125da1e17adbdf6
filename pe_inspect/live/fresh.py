"""A model of the same shape with fresh weights, as a control."""

from __future__ import annotations

import copy
from typing import Final

import torch
from torch import nn

__all__ = ["freshened"]

_USUAL_SPREAD: Final = 0.02  # σ of tokens and tables in ViT's, DeiT's and DINO's own code


def freshened(model: nn.Module, seed: int) -> nn.Module:
    """Return a copy of a model whose weights are drawn anew.

    Every module that can draws its own weights; matrices that belong to none of these (tokens,
    tables) are drawn with σ 0.02, and vectors (as LayerScale's) become what they mostly begin as:
    0 where a bias is meant, else 1. A model that can start itself does so last.

    Args:
        model: is left as it is.
        seed: of what is drawn; the state of torch's generator is kept.
    """
    fresh = copy.deepcopy(model)
    with torch.random.fork_rng(devices=_devices_of(model)), torch.no_grad():
        torch.manual_seed(seed)
        for module in fresh.modules():
            _begin(module)
        begin_all = getattr(fresh, "init_weights", None)
        if callable(begin_all):
            begin_all()
    return fresh.eval()


def _begin(module: nn.Module) -> None:
    """Draw what a module itself holds."""
    begin = getattr(module, "reset_parameters", None) or getattr(module, "_reset_parameters", None)
    if callable(begin):
        begin()
        return
    for name, parameter in module.named_parameters(recurse=False):
        if parameter.ndim > 1:
            nn.init.normal_(parameter, std=_USUAL_SPREAD)
        else:
            nn.init.constant_(parameter, 0.0 if "bias" in name else 1.0)


def _devices_of(model: nn.Module) -> list[torch.device]:
    return list({p.device for p in model.parameters() if p.device.type == "cuda"})
