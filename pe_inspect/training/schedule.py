"""The learning rate of every step: a linear warm-up, then half a cosine.

`"step"` follows both from step to step. The other two are the codes' own that recipes cite: their
rates change between epochs alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Final

from pe_inspect.training.recipe import Recipe

__all__ = ["learning_rate"]

DEITS_FIRST: Final = 1e-6  # timm's `warmup_lr`, which DeiT's batch does not scale


def learning_rate(recipe: Recipe, step: int, steps_per_epoch: int) -> float:
    """Return the rate of `step`, counted from 0; `recipe.lr` is the highest.

    The steps of a run that this one extends had a schedule of their own.

    Source: the cosine is arXiv:1608.03983, Eq. 5, one period without restart.
    """
    own_step = step - recipe.extends * steps_per_epoch
    return _SCHEDULES[recipe.schedule](recipe, own_step, steps_per_epoch)


def _every_step(recipe: Recipe, step: int, steps_per_epoch: int) -> float:
    total = recipe.own_epochs * steps_per_epoch
    warmup = min(round(recipe.warmup_epochs * steps_per_epoch), total)
    if step < warmup:
        return recipe.lr * (step + 1) / warmup
    return _cosine(recipe, (step - warmup) / max(1, total - warmup))


def _as_schh(recipe: Recipe, step: int, steps_per_epoch: int) -> float:
    """An epoch behind its warm-up still has the full rate: the cosine is stepped at its end."""
    epoch = step // steps_per_epoch
    if epoch < recipe.warmup_epochs:
        return recipe.lr * min(1.0, (epoch + 1) / recipe.warmup_epochs)
    falling = recipe.own_epochs - recipe.warmup_epochs
    return _cosine(recipe, (epoch - recipe.warmup_epochs) / max(1.0, falling))


def _as_deit(recipe: Recipe, step: int, steps_per_epoch: int) -> float:
    """One epoch late, and a cosine over all epochs, of which the warm-up takes the beginning."""
    epoch = max(0, step // steps_per_epoch - 1)
    if epoch < recipe.warmup_epochs:
        return DEITS_FIRST + (recipe.lr - DEITS_FIRST) * epoch / recipe.warmup_epochs
    return _cosine(recipe, epoch / recipe.own_epochs)


def _cosine(recipe: Recipe, done: float) -> float:
    """Return the rate after a share of the cosine, 0 … 1."""
    return recipe.min_lr + (recipe.lr - recipe.min_lr) * (1 + math.cos(math.pi * done)) / 2


_SCHEDULES: Final[Mapping[str, Callable[[Recipe, int, int], float]]] = {
    "step": _every_step,
    "schh": _as_schh,
    "deit": _as_deit,
}
