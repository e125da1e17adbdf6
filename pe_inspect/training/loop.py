"""The training loop itself: steps, epochs, evaluation. It writes nothing."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Final

import torch
from torch import nn
from torch.nn import functional

from pe_inspect.data.dataset import Dataset
from pe_inspect.errors import UsageError
from pe_inspect.models.vit import VisionTransformer
from pe_inspect.training.dropout import suit_dropout
from pe_inspect.training.feed import loaders
from pe_inspect.training.hardware import (
    compiled,
    find_precision,
    suit_attention,
    suits_channels_last,
)
from pe_inspect.training.launch import ProcessPlace
from pe_inspect.training.losses import LOSSES
from pe_inspect.training.optimizer import RunningAverage, make_optimizer
from pe_inspect.training.recipe import Recipe
from pe_inspect.training.schedule import learning_rate
from pe_inspect.training.start import initial_model
from pe_inspect.training.teacher import Teacher
from pe_inspect.training.world import World

__all__ = ["Loop", "SplitScore"]

# torch's generator on a CPU keeps the last 32 bits of a seed, so that only on a GPU does this part
# dropout from the order of an epoch.
DROPOUT_SEEDS: Final = 1 << 40
SEED_STRIDE: Final = 1_000_000_007
RATES: Final = ("pos_drop_rate", "proj_drop_rate", "attn_drop_rate", "drop_path_rate")
CUDA_GRAPHS_PAY: Final = 30_000_000  # parameters; larger models are not bound by launching


@dataclass(frozen=True)
class SplitScore:
    """How a model does on a split.

    Attributes:
        loss: mean cross-entropy, not smoothed.
        accuracy: top-1, from 0 to 1.
    """

    loss: float
    accuracy: float


class Heads(nn.Module):
    """A model that answers with the logits of every head.

    Args:
        model: what answers.
    """

    def __init__(self, model: VisionTransformer) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return (batch, classes) a head."""
        return self.model.head_logits(images)


class Loop:
    """A model in training.

    Dropout draws from torch's global generator, which every step seeds anew from the recipe's
    seed and the step's number: a step can be replayed without those before it.

    Args:
        recipe: what to train and how.
        dataset: both of its splits go to the device.
        device: where everything happens.
        world: the processes that share each step; this one alone unless given.

    Raises:
        UsageError: the batch cannot be split over processes and parts.
    """

    def __init__(
        self, recipe: Recipe, dataset: Dataset, device: torch.device, world: World | None = None
    ) -> None:
        self.recipe = recipe
        self.device = device
        self.world = world or World(ProcessPlace(), device)
        _check_splits(recipe, self.world.size)
        self.dtype = find_precision(recipe.precision, device)
        self.model = initial_model(recipe).to(device)
        self._twin = copy.deepcopy(self.model).eval()
        suit_attention(self.model, device, self.dtype)
        if recipe.compile != "on":  # the compiler fuses PyTorch's own
            suit_dropout(self.model, device)
        self._format = torch.contiguous_format
        if suits_channels_last(recipe.channels_last, device):
            self._format = torch.channels_last
            self.model.to(memory_format=self._format)
        self.optimizer = make_optimizer(self.model, recipe, device)
        self.average = RunningAverage(self.model, recipe.ema_decay) if recipe.ema_decay else None
        self.teacher = Teacher(recipe, device) if recipe.teacher else None
        self._heads = self._prepared()
        self.train_images, self.test_images = loaders(recipe, dataset, self.world)
        self._whole_batch = min(recipe.batch_size, len(dataset.train))
        self._draws = any(getattr(recipe.model, rate) for rate in RATES)
        self.step_number = 0

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps of one epoch."""
        return self.train_images.batches_per_epoch

    @property
    def lr(self) -> float:
        """The learning rate of the next step."""
        return learning_rate(self.recipe, self.step_number, self.steps_per_epoch)

    @property
    def product(self) -> VisionTransformer:
        """The model that is saved: the running average where there is one."""
        return self.average.model if self.average else self.model

    def epoch(self, number: int, start: int = 0) -> Iterator[torch.Tensor]:
        """Train one epoch; yields each step's loss, a scalar that has not left the device.

        Args:
            number: the epoch, from 1.
            start: the step of the epoch to begin with.
        """
        for images, targets in self.train_images.epoch(number, start):
            yield self.step(images, targets)

    def step(self, images: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Take one optimizer step on a batch, or this process's part of it; return its loss."""
        self._seed_dropout()
        for group in self.optimizer.param_groups:
            group["lr"] = self.lr
        self.optimizer.zero_grad(set_to_none=True)
        loss = self._gradients(images.contiguous(memory_format=self._format), targets)
        if self.recipe.clip_grad:
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.recipe.clip_grad)
        self.optimizer.step()
        if self.average:
            self.average.update(self.step_number)
        self.step_number += 1
        return loss

    @torch.inference_mode()
    def evaluate(self, weights: Mapping[str, torch.Tensor]) -> SplitScore:
        """Measure weights as they are saved, in float32, on the test images of all processes.

        Raises:
            UsageError: no test image can be read.
        """
        self._twin.load_state_dict(weights)
        loss, correct = torch.zeros(2, device=self.device)
        count = torch.zeros((), device=self.device)
        for images, labels in self.test_images.in_order():
            logits = self._twin(images)
            loss += functional.cross_entropy(logits, labels, reduction="sum")
            correct += (logits.argmax(dim=1) == labels).sum()
            count += len(labels)
        totals = self.world.total(torch.stack((loss, correct, count))).tolist()
        if not totals[2]:
            raise UsageError(
                f"No test image of {self.recipe.data} can be read any longer; see that its files "
                "are still there."
            )
        return SplitScore(totals[0] / totals[2], totals[1] / totals[2])

    def state(self) -> dict[str, torch.Tensor]:
        """Return all that the next step hangs on, besides the recipe and the step's number."""
        moments = self.optimizer.state_dict()["state"]
        return {
            **{f"model.{key}": value for key, value in self.model.state_dict().items()},
            **{f"average.{key}": value for key, value in self._averaged().items()},
            **{f"optimizer.{i}.{k}": v for i, kept in moments.items() for k, v in kept.items()},
        }

    def restore(self, state: Mapping[str, torch.Tensor], step_number: int) -> None:
        """Continue from what `state` returned after `step_number` steps.

        Raises:
            KeyError: something is missing.
            RuntimeError: something is of another shape.
        """
        self.model.load_state_dict(_under("model", state))
        if self.average:
            self.average.model.load_state_dict(_under("average", state))
        kept: dict[int, dict[str, torch.Tensor]] = {}
        for key, value in _under("optimizer", state).items():
            index, _, name = key.partition(".")
            kept.setdefault(int(index), {})[name] = value
        groups = self.optimizer.state_dict()["param_groups"]
        if self.recipe.optimizer == "lamb":  # which counts its steps for a whole group
            groups = [{**group, "step": step_number} for group in groups]
        self.optimizer.load_state_dict({"state": kept, "param_groups": groups})
        self.step_number = step_number

    def begin_from(self, weights: Mapping[str, torch.Tensor], step_number: int) -> None:
        """Go on from a finished run's weights after its steps; the optimizer begins anew.

        Raises:
            RuntimeError: they are of another model.
        """
        self.model.load_state_dict(weights)
        if self.average:
            self.average.model.load_state_dict(weights)
        self.step_number = step_number

    def _averaged(self) -> Mapping[str, torch.Tensor]:
        return self.average.model.state_dict() if self.average else {}

    def _gradients(self, images: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Leave the gradients of the whole batch's mean loss; return this process's share of it.

        The parts of one step are weighted by their images: shares need not be of one size.
        """
        parts = list(zip(*(each.chunk(self.recipe.accumulate) for each in (images, targets))))
        total = torch.zeros((), device=self.device)
        for i, (some, wanted) in enumerate(parts):
            is_last = i == len(parts) - 1
            with nullcontext() if is_last else self.world.quiet(self._heads):
                weight = len(some) * self.world.size / self._whole_batch
                loss = self._loss(some, wanted) * weight
                loss.backward()  # type: ignore[no-untyped-call]
            total += loss.detach()
        return total

    def _loss(self, images: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Return the mean over heads of the recipe's loss, smoothed where labels are learned.

        The head of a distillation token learns the labels too, but where there is a teacher.

        Args:
            images: normalised.
            targets: class numbers (N,), or a distribution over classes for each image.
        """
        mixed = self.dtype != torch.float32
        with torch.autocast(self.device.type, self.dtype, enabled=mixed):
            heads = self._heads(images)
        loss, smoothing = LOSSES[self.recipe.loss], self.recipe.label_smoothing
        losses = [loss(logits.float(), targets, smoothing) for logits in heads]
        if self.teacher:
            with torch.autocast(self.device.type, self.dtype, enabled=mixed):
                answers = self.teacher.labels(images)
            losses[1] = functional.cross_entropy(heads[1].float(), answers)
        return losses[0] if len(losses) == 1 else torch.stack(losses).mean()

    def _seed_dropout(self) -> None:
        if self._draws:
            own = self.step_number * self.world.size + self.world.rank
            torch.manual_seed(DROPOUT_SEEDS + self.recipe.seed * SEED_STRIDE + own)

    def _prepared(self) -> nn.Module:
        """Return the model's heads: compiled and shared between processes, where it is either."""
        recipe, alone = self.recipe, self.world.size == 1
        is_small = recipe.num_parameters <= CUDA_GRAPHS_PAY
        graphed = alone and is_small and recipe.accumulate == 1
        heads = compiled(Heads(self.model), recipe.compile, self.device, graphed=graphed)
        return self.world.share(heads, may_leave_out=_has_idle_convolution(recipe))


def _check_splits(recipe: Recipe, processes: int) -> None:
    parts = processes * recipe.accumulate
    if recipe.batch_size % parts:
        raise UsageError(
            f"batch_size {recipe.batch_size} cannot be split over {processes} processes of "
            f"{recipe.accumulate} parts each; pass --set batch_size="
            f"{max(1, round(recipe.batch_size / parts)) * parts}."
        )


def _has_idle_convolution(recipe: Recipe) -> bool:
    """Whether a convolution comes after the last block, where CLS no longer looks at patches."""
    model = recipe.model
    is_last = model.scheme == "peg" and model.peg_position == model.depth - 1
    return is_last and model.global_pool == "token"


def _under(name: str, state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    prefix = f"{name}."
    return {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
