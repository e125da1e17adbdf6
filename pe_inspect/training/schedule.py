"""The learning rate of every step: a linear warm-up, then half a cosine."""

from __future__ import annotations

import math

from pe_inspect.training.recipe import Recipe

__all__ = ["learning_rate"]


def learning_rate(recipe: Recipe, step: int, steps_per_epoch: int) -> float:
    """Return the rate of `step`, counted from 0; it is `recipe.lr` where the warm-up ends.

    Source: the cosine is arXiv:1608.03983, Eq. 5, one period without restart.
    """
    total = recipe.epochs * steps_per_epoch
    warmup = min(round(recipe.warmup_epochs * steps_per_epoch), total)
    if step < warmup:
        return recipe.lr * (step + 1) / warmup
    done = (step - warmup) / max(1, total - warmup)
    return recipe.min_lr + (recipe.lr - recipe.min_lr) * (1 + math.cos(math.pi * done)) / 2
