"""The training loop itself: steps, epochs, evaluation. It writes nothing."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch.nn import functional

from pe_inspect.data.dataset import Dataset, Split
from pe_inspect.data.device_loader import Augmentation, DeviceLoader
from pe_inspect.models.vit import VisionTransformer
from pe_inspect.training.hardware import find_precision, suit_attention
from pe_inspect.training.recipe import Recipe
from pe_inspect.training.schedule import learning_rate

__all__ = ["Evaluation", "Loop", "parameter_groups"]


@dataclass(frozen=True)
class Evaluation:
    """How a model does on a split.

    Attributes:
        loss: mean cross-entropy, not smoothed.
        accuracy: top-1, from 0 to 1.
    """

    loss: float
    accuracy: float


class Loop:
    """A model in training.

    Args:
        recipe: what to train and how.
        dataset: both of its splits go to the device.
        device: where everything happens.
    """

    def __init__(self, recipe: Recipe, dataset: Dataset, device: torch.device) -> None:
        self.recipe = recipe
        self.device = device
        self.dtype = find_precision(recipe.precision, device)
        self.model = _initial_model(recipe).to(device)
        self._twin = copy.deepcopy(self.model).eval()
        suit_attention(self.model, device, self.dtype)
        groups = parameter_groups(self.model, recipe.weight_decay)
        fused = device.type in ("cpu", "cuda")
        self.optimizer = torch.optim.AdamW(groups, lr=recipe.lr, fused=fused)
        self.train_images = self._loader(dataset, dataset.train)
        self.test_images = self._loader(dataset, dataset.test)
        self.step_number = 0

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps of one epoch."""
        return self.train_images.batches_per_epoch

    @property
    def lr(self) -> float:
        """The learning rate of the next step."""
        return learning_rate(self.recipe, self.step_number, self.steps_per_epoch)

    def epoch(self, number: int) -> Iterator[torch.Tensor]:
        """Train one epoch; yields each step's loss, a scalar that has not left the device."""
        for images, labels in self.train_images.epoch(number):
            yield self.step(images, labels)

    def step(self, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Take one optimizer step on a batch and return its loss."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.lr
        loss = functional.cross_entropy(
            self._logits(images), labels, label_smoothing=self.recipe.label_smoothing
        )
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        if self.recipe.clip_grad:
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.recipe.clip_grad)
        self.optimizer.step()
        self.step_number += 1
        return loss.detach()

    @torch.inference_mode()
    def evaluate(self, weights: Mapping[str, torch.Tensor]) -> Evaluation:
        """Measure weights as they are saved, in float32, on the test images."""
        self._twin.load_state_dict(weights)
        loss, correct = torch.zeros(2, device=self.device)
        for images, labels in self.test_images.in_order():
            logits = self._twin(images)
            loss += functional.cross_entropy(logits, labels, reduction="sum")
            correct += (logits.argmax(dim=1) == labels).sum()
        count = len(self.test_images.labels)
        return Evaluation(float(loss) / count, float(correct) / count)

    def _logits(self, images: torch.Tensor) -> torch.Tensor:
        mixed = self.dtype != torch.float32
        with torch.autocast(self.device.type, self.dtype, enabled=mixed):
            logits: torch.Tensor = self.model(images)
        return logits.float()

    def _loader(self, dataset: Dataset, split: Split) -> DeviceLoader:
        return DeviceLoader(
            split,
            mean=dataset.mean,
            std=dataset.std,
            batch_size=self.recipe.batch_size,
            device=self.device,
            augmentation=Augmentation(self.recipe.shift, self.recipe.flip),
            seed=self.recipe.seed,
        )


def parameter_groups(model: VisionTransformer, weight_decay: float) -> list[dict[str, object]]:
    """Split the parameters: weight matrices decay; norms, biases and embeddings do not."""
    kept: list[torch.nn.Parameter] = []
    decayed: list[torch.nn.Parameter] = []
    for name, parameter in model.named_parameters():
        is_embedding = name in ("pos_embed", "cls_token")
        (kept if parameter.ndim < 2 or is_embedding else decayed).append(parameter)
    return [
        {"params": decayed, "weight_decay": weight_decay},
        {"params": kept, "weight_decay": 0.0},
    ]


def _initial_model(recipe: Recipe) -> VisionTransformer:
    """Initialise from the recipe's seed, and leave the caller's random state as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        return VisionTransformer(recipe.model)
