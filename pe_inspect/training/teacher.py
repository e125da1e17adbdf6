"""A trained model whose answers the distillation token learns: hard distillation.

Source: arXiv:2012.12877 (DeiT), section 4, equation 3.
"""

from __future__ import annotations

import torch
from torch import nn

from pe_inspect.errors import UsageError
from pe_inspect.live.rebuild import rebuild
from pe_inspect.loading import load
from pe_inspect.training.recipe import Recipe

__all__ = ["Teacher"]


class Teacher:
    """Answers what it takes an image for. It sees images as the student does, and learns nothing.

    Args:
        recipe: `teacher` is any checkpoint that `pei.rebuild` makes a model of.
        device: where it answers.

    Raises:
        UsageError: it knows another number of classes, or other images.
        PEInspectError: there is no such checkpoint, or no model can be made of it.
    """

    def __init__(self, recipe: Recipe, device: torch.device) -> None:
        self.model: nn.Module = rebuild(load(recipe.teacher)).eval().requires_grad_(False)
        self.model.to(device)
        self._check(recipe, device)

    @torch.no_grad()
    def labels(self, images: torch.Tensor) -> torch.Tensor:
        """Return the class number that it gives each image, (N,)."""
        answers: torch.Tensor = self.model(images).argmax(dim=1)
        return answers

    def _check(self, recipe: Recipe, device: torch.device) -> None:
        shape, model = (recipe.model.in_chans, *recipe.model.img_size), recipe.model
        size = "×".join(map(str, shape))
        with torch.no_grad():
            try:
                answers = self.model(torch.zeros(1, *shape, device=device))
            except (RuntimeError, AssertionError, ValueError) as error:
                raise UsageError(
                    f"The teacher {recipe.teacher} does not take images of {size} ({error}). "
                    "Pass another one: --set teacher=CHECKPOINT."
                ) from error
        if answers.shape != (1, model.num_classes):
            raise UsageError(
                f"The teacher {recipe.teacher} tells {answers.shape[-1]} classes apart, and the "
                f"recipe has {model.num_classes}. Pass another one: --set teacher=CHECKPOINT."
            )
