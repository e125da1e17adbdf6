"""`train(recipe)` → the folder of a checkpoint: the loop, what it writes, and how it stops."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NoReturn

import torch

from pe_inspect.data.dataset import Dataset, load
from pe_inspect.errors import UsageError
from pe_inspect.position_embedding import PositionEmbedding
from pe_inspect.training.hardware import describe_machine, find_device, versions
from pe_inspect.training.interrupt import deferred_interrupt
from pe_inspect.training.loop import Evaluation, Loop
from pe_inspect.training.recipe import Recipe
from pe_inspect.training.run_folder import WEIGHTS, RunFolder, stored_weights
from pe_inspect.training.schedule import learning_rate
from pe_inspect.training.snapshot import snapshot

__all__ = ["Progress", "TrainingDiverged", "TrainingInterrupted", "train"]

LOOK_EVERY: Final = 20  # steps between looks at the loss: each one waits for the device


class TrainingDiverged(UsageError):
    """The loss became NaN or infinite."""


class TrainingInterrupted(KeyboardInterrupt):
    """Ctrl-C came; the step was finished, and what there is was saved."""


@dataclass(frozen=True)
class Progress:
    """Where a run stands.

    Attributes:
        epoch: the current epoch, from 1.
        epochs: of the whole run.
        step: steps done in the whole run.
        steps: of the whole run.
        loss: the mean of the last steps' (smoothed) losses.
        images_per_second: over the whole run, evaluation included; 0 before the clock moved.
        seconds_left: expected from that.
        accuracy: on the test images after the last finished epoch, 0 to 1; `None` before.
    """

    epoch: int
    epochs: int
    step: int
    steps: int
    loss: float
    images_per_second: float
    seconds_left: float
    accuracy: float | None


def train(
    recipe: Recipe,
    *,
    out: str | Path | None = None,
    device: str = "auto",
    root: str | Path | None = None,
    force: bool = False,
    progress: Callable[[Progress], object] | None = None,
    clock: Callable[[], float] = time.time,
) -> Path:
    """Train a recipe and return the folder of its checkpoint.

    After every epoch `model.safetensors` holds that epoch's weights: always the last finished
    ones, never a choice made on the test images. Beside it are `config.json`, `metrics.csv` and
    `evolution/`. What an earlier run left in the folder is replaced at the end of the first epoch.
    The same recipe gives the same weights, to the byte, on one kind of CPU.

    Args:
        recipe: what to train.
        out: the folder; `checkpoints/NAME` unless given.
        device: `"auto"`, `"cpu"`, `"cuda"`, `"cuda:1"`, …
        root: where datasets lie; `data/` unless given.
        force: overwrite files that pe-inspect did not make.
        progress: called every few steps.
        clock: seconds; the same clock times the run and dates it.

    Raises:
        UsageError: the device or the data is not there, or the images are not the model's.
        OutputError: the folder cannot be written.
        TrainingDiverged: the loss is no longer a number.
        TrainingInterrupted: Ctrl-C; the step was finished, and what there is was saved.
    """
    place = find_device(device)
    folder = RunFolder(Path(out) if out else Path("checkpoints") / recipe.name, force)
    dataset = load(recipe.data, root=root)
    _check_fits(recipe, dataset)
    run = _Run(recipe, dataset, Loop(recipe, dataset, place), folder, clock, progress)
    with deferred_interrupt() as interrupt:
        for epoch in range(1, recipe.epochs + 1):
            run.epoch(epoch, interrupt)
    return folder.path


@dataclass
class _Run:
    """One call of `train`."""

    recipe: Recipe
    dataset: Dataset
    loop: Loop
    folder: RunFolder
    clock: Callable[[], float]
    progress: Callable[[Progress], object] | None
    evaluation: Evaluation | None = None
    unseen: list[torch.Tensor] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.started = self.clock()
        self.initial = self._snapshot(0)

    def epoch(self, number: int, interrupt: threading.Event) -> None:
        """Train, evaluate and save one epoch."""
        total = torch.zeros((), device=self.loop.device)
        for loss in self.loop.epoch(number):
            total += loss
            self.unseen.append(loss)
            if len(self.unseen) == LOOK_EVERY:
                self._look(number)
            if interrupt.is_set():
                self._stop(number)
        self._look(number)
        self._save(number, float(total) / self.loop.steps_per_epoch)

    def _look(self, epoch: int) -> None:
        """Fetch the losses since the last look: report them, or stop where one is no number."""
        if not self.unseen:
            return
        losses = torch.stack(self.unseen).cpu()
        self.unseen.clear()
        broken = (~losses.isfinite()).nonzero()
        if len(broken):
            self._diverge(self.loop.step_number - len(losses) + int(broken[0]), epoch)
        if self.progress:
            self.progress(self._where(epoch, float(losses.mean())))

    def _where(self, epoch: int, loss: float) -> Progress:
        steps = self.recipe.epochs * self.loop.steps_per_epoch
        done = self.loop.step_number
        a_step = (self.clock() - self.started) / done
        speed = self.recipe.batch_size / a_step if a_step else 0.0
        accuracy = self.evaluation.accuracy if self.evaluation else None
        left = (steps - done) * a_step
        return Progress(epoch, self.recipe.epochs, done, steps, loss, speed, left, accuracy)

    def _save(self, epoch: int, train_loss: float) -> None:
        """Save a finished epoch: the weights first, so that nothing beside them is newer."""
        weights = stored_weights(self.loop.model, self.recipe.stored_as)
        self.evaluation = self.loop.evaluate(weights)
        is_last = epoch == self.recipe.epochs
        self._begin()
        self.folder.save_weights(weights)
        self.folder.add_metrics(self._row(epoch, train_loss, self.evaluation))
        if is_last or epoch % self.recipe.snapshot_every == 0:
            self.folder.save_snapshot(self._snapshot(epoch), epoch)
        self._save_config("finished" if is_last else "in training", epoch)

    def _row(self, epoch: int, train_loss: float, evaluation: Evaluation) -> dict[str, Any]:
        return {
            "epoch": epoch,
            "step": self.loop.step_number,
            "lr": f"{self._lr_of(self.loop.step_number - 1):.4g}",
            "train_loss": f"{train_loss:.5f}",
            "test_loss": f"{evaluation.loss:.5f}",
            "test_accuracy": f"{evaluation.accuracy:.4f}",
            "seconds": f"{self.clock() - self.started:.1f}",
        }

    def _begin(self) -> None:
        """Clear what an earlier run left, once there is something to put in its place."""
        if not self.folder.is_begun:
            self.folder.begin()
            self.folder.save_snapshot(self.initial, 0)

    def _snapshot(self, epoch: int) -> PositionEmbedding:
        return snapshot(self.loop.model, f"{self.recipe.name}, epoch {epoch}")

    def _save_config(self, status: str, epochs: int) -> None:
        metrics: dict[str, Any] = {"epochs": epochs, "steps": self.loop.step_number}
        if self.evaluation:
            metrics["test_accuracy"] = round(self.evaluation.accuracy, 4)
            metrics["test_loss"] = round(self.evaluation.loss, 5)
        now = self.clock()
        metrics["seconds"] = round(now - self.started, 1)
        saved_at = datetime.fromtimestamp(now, tz=UTC).isoformat(timespec="seconds")
        facts = {"status": status, "saved_at": saved_at, "metrics": metrics}
        self.folder.save_config(facts | _circumstances(self.recipe, self.dataset, self.loop))

    def _stop(self, epoch: int) -> NoReturn:
        """Save the weights of this very step, not evaluated, and leave.

        An earlier run's checkpoint is worth more than the beginning of an epoch, and stays.
        """
        self._look(epoch)
        epochs, step = self.recipe.epochs, self.loop.step_number
        where = f"Stopped in epoch {epoch} of {epochs}, after step {step}."
        if self.folder.holds_an_earlier_run:
            raise TrainingInterrupted(
                f"{where} The earlier run in {self.folder.path} is as it was."
            )
        self._begin()
        self.evaluation = None
        self.folder.save_weights(stored_weights(self.loop.model, self.recipe.stored_as))
        self._save_config(f"interrupted in epoch {epoch}", epoch - 1)
        raise TrainingInterrupted(f"{where} The weights of that step are in {self.folder.path}.")

    def _diverge(self, step: int, epoch: int) -> NoReturn:
        good = self.folder.path / WEIGHTS
        kept = f"{good} holds epoch {epoch - 1}" if epoch > 1 else "no checkpoint was saved yet"
        raise TrainingDiverged(
            f"The loss is no longer a number: step {step + 1}, epoch {epoch}, "
            f"lr {self._lr_of(step):.4g}; {kept}. "
            f"Try a lower rate, e.g. --set lr={self.recipe.lr / 4:.2g}."
        )

    def _lr_of(self, step: int) -> float:
        return learning_rate(self.recipe, step, self.loop.steps_per_epoch)


def _check_fits(recipe: Recipe, dataset: Dataset) -> None:
    """Stop, before training, where the recipe's model is not made for these images."""
    facts = {"img_size": dataset.img_size, "in_chans": dataset.in_chans}
    facts["num_classes"] = len(dataset.classes)
    wrong = {key: fact for key, fact in facts.items() if getattr(recipe.model, key) != fact}
    if wrong:
        said = ", ".join(f"{key} {_spoken(getattr(recipe.model, key))}" for key in wrong)
        true = ", ".join(f"{key} {_spoken(fact)}" for key, fact in wrong.items())
        flags = " ".join(f"--set {key}={_spoken(fact)}" for key, fact in wrong.items())
        raise UsageError(
            f"The recipe's model has {said}; {dataset.label} has {true}. Pass {flags}."
        )


def _spoken(value: Any) -> str:
    return "x".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _circumstances(recipe: Recipe, dataset: Dataset, loop: Loop) -> dict[str, Any]:
    """Return what `config.json` says of a run beside its outcome."""
    return {
        "model": recipe.model.to_dict(),
        "recipe": recipe.to_dict(),
        "seed": recipe.seed,
        "data": _describe(dataset),
        "weights": f"those of the last step, as {recipe.stored_as}; the metrics are theirs",
        "machine": describe_machine(loop.device),
        "precision": str(loop.dtype).removeprefix("torch."),
        "versions": versions(),
    }


def _describe(dataset: Dataset) -> Mapping[str, Any]:
    return {
        "name": dataset.name,
        "label": dataset.label,
        "num_train": len(dataset.train),
        "num_test": len(dataset.test),
        "classes": list(dataset.classes),
        "mean": list(dataset.mean),
        "std": list(dataset.std),
    }
