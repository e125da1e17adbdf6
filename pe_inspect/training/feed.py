"""The loaders of a run: both splits, this process's share of them."""

from __future__ import annotations

from typing import Final

import torch

from pe_inspect.data.dataset import Dataset
from pe_inspect.data.loaders import Loader, make_loader
from pe_inspect.training.recipe import Recipe
from pe_inspect.training.world import World

__all__ = ["evaluated_at_once", "loaders"]

VALUES_AT_ONCE: Final = 2**22  # of the pixels of an evaluation batch on a GPU: 1365 CIFAR images


def loaders(recipe: Recipe, dataset: Dataset, world: World) -> tuple[Loader, Loader]:
    """Return what yields the training batches and the test batches of a recipe."""
    at_once = evaluated_at_once(recipe, world.device)
    batch_sizes = {"train": recipe.batch_size, "test": at_once}
    train, test = (
        make_loader(
            dataset,
            split,
            batch_size=batch_size,
            device=world.device,
            augmentation=recipe.augmentation,
            seed=recipe.seed,
            rank=world.rank,
            world_size=world.size,
            strict=recipe.strict,
            crop_pct=recipe.crop_pct,
        )
        for split, batch_size in batch_sizes.items()
    )
    return train, test


def evaluated_at_once(recipe: Recipe, device: torch.device) -> int:
    """Return the images of an evaluation batch: on a GPU, small ones are too few to fill it."""
    if device.type != "cuda":
        return recipe.batch_size
    height, width = recipe.model.img_size
    return max(recipe.batch_size, VALUES_AT_ONCE // (height * width * recipe.model.in_chans))
