"""One run of a recipe: epochs, what is looked at and saved in between, and how it stops."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NoReturn

import torch

from pe_inspect.checkpoint_files import FINISHED, WEIGHTS
from pe_inspect.data.dataset import Dataset
from pe_inspect.errors import NoPositionEmbedding, OutputError, UsageError
from pe_inspect.kinds.position_embedding import PositionEmbedding
from pe_inspect.training.board import Board
from pe_inspect.training.facts import circumstances, describe_data, through_json
from pe_inspect.training.loop import Loop, SplitScore
from pe_inspect.training.progress import (
    Progress,
    TrainingAbandoned,
    TrainingDiverged,
    TrainingInterrupted,
)
from pe_inspect.training.recipe import Recipe
from pe_inspect.training.resume import (
    RESUME,
    Standing,
    damaged,
    read_resume,
    resume_content,
    stays,
)
from pe_inspect.training.run_folder import BEST, DrawCurves, RunFolder, stored_weights
from pe_inspect.training.schedule import learning_rate
from pe_inspect.training.snapshot import snapshot

__all__ = ["Run"]

LOOK_EVERY: Final = 20  # steps between looks at the loss: each one waits for the device
TOTAL: Final = "run.total"
CHOSEN: Final = "on the test images, so that its accuracy flatters it"


@dataclass
class Run:
    """One call of `train`; every process of a run has its own, and the first one writes.

    Attributes:
        recipe: what is trained.
        dataset: on what.
        loop: the model in training.
        folder: where the first process writes.
        clock: seconds.
        progress: called every few steps.
        say: called with what is worth knowing, a line each.
        draw_curves: draws the metrics into a file; `training` itself draws nothing.
        board: TensorBoard's, if wanted.
        standing: how far the run has come.
        evaluation: of the last finished epoch.
        unseen: losses that were not looked at yet.
        total: the sum of the epoch's losses that were.
        notes: what `config.json` says of the run in words.
        saved_epoch: the last one that a run can go on from.
    """

    recipe: Recipe
    dataset: Dataset
    loop: Loop
    folder: RunFolder
    clock: Callable[[], float]
    progress: Callable[[Progress], object] | None = None
    say: Callable[[str], object] | None = None
    draw_curves: DrawCurves | None = None
    board: Board | None = None
    standing: Standing = field(default_factory=Standing)
    evaluation: SplitScore | None = None
    unseen: list[torch.Tensor] = field(default_factory=list)
    total: torch.Tensor = field(default_factory=lambda: torch.zeros(()))
    notes: list[str] = field(default_factory=list)
    saved_epoch: int = 0

    def __post_init__(self) -> None:
        self.started = self.clock()
        self.first_step = 0
        self.initial = self._snapshot(0)  # before the first step changes it

    def resume(self) -> None:
        """Go on from the folder's resume file.

        Raises:
            UsageError: it is damaged, of another recipe, or of other images.
        """
        path = self.folder.path / RESUME
        standing, tensors = read_resume(path, self.recipe)
        self.demand_same_images(path, standing.data)
        try:
            self.total = tensors.pop(TOTAL)
            self.loop.restore(tensors, standing.step)
        except (KeyError, ValueError, RuntimeError) as error:
            raise UsageError(damaged(path)) from error
        self.go_on_from(standing)
        self.folder.owns_resume = True
        if self.loop.world.is_first and standing.is_begun:
            self.folder.restore_metrics(standing.rows)
        self._tell_resumed(path)

    def go_on_from(self, standing: Standing) -> None:
        """Stand where an earlier run came to, or this one before it was interrupted."""
        self.standing, self.first_step = standing, standing.step
        self.saved_epoch = standing.epoch - 1

    @property
    def data(self) -> Mapping[str, Any]:
        """What tells its images from others."""
        return describe_data(self.dataset)

    def demand_same_images(self, where: Path, data: Any) -> None:
        """Stop where what lies in the folder was trained on other images.

        Raises:
            UsageError: it was.
        """
        if data != through_json(self.data):
            raise UsageError(
                f"{where} was trained on other images: the data of {self.recipe.data} has changed "
                "since. Train anew into another --out."
            )

    def epoch(self, number: int, interrupt: threading.Event) -> None:
        """Train what is left of an epoch, evaluate and save it."""
        alone = self.loop.world.size == 1
        for loss in self.loop.epoch(number, self.standing.batch):
            self.standing.batch += 1
            self.unseen.append(loss)
            if len(self.unseen) == LOOK_EVERY or (alone and interrupt.is_set()):
                self._heed(number, interrupt)
        if not alone:
            self._heed(number, interrupt)
        self._look(number)
        self._save(number)

    def note(self, text: str) -> None:
        """Say something once, and keep it for `config.json`."""
        if text not in self.notes:
            self.notes.append(text)
            self.tell(text)

    def tell(self, text: str) -> None:
        """Say something to whoever listens."""
        if self.say:
            self.say(text)

    def _tell_resumed(self, path: Path) -> None:
        now = str(self.loop.dtype)
        if self.standing.precision != now:
            self.note(f"Begun in {self.standing.precision}, and goes on in {now}.")
        epoch, step = self.standing.epoch, self.standing.step
        self.tell(f"Going on from {path}: epoch {epoch}, after step {step}.")

    def _heed(self, epoch: int, interrupt: threading.Event) -> None:
        """Look at the losses, and stop where any process was asked to: all in the same step."""
        self._look(epoch)
        if self.loop.world.agree(interrupt.is_set()):
            self._stop(epoch)

    def _look(self, epoch: int) -> None:
        """Fetch the losses since the last look: report them, or stop where one is no number."""
        if not self.unseen:
            return
        losses = self.loop.world.mean(torch.stack(self.unseen)).cpu()
        self.unseen.clear()
        broken = (~losses.isfinite()).nonzero()
        if len(broken):
            self._diverge(self.loop.step_number - len(losses) + int(broken[0]), epoch)
        for loss in losses:
            self.total += loss
        if self.progress or self.board:
            self._report(self._where(epoch, float(losses.mean())))

    def _report(self, where: Progress) -> None:
        if self.progress:
            self.progress(where)
        if self.board:
            rate = self._lr_of(where.step - 1)
            self.board.steps(where.step, where.loss, rate, where.images_per_second)

    def _where(self, epoch: int, loss: float) -> Progress:
        steps = self.recipe.epochs * self.loop.steps_per_epoch
        done = self.loop.step_number
        a_step = (self.clock() - self.started) / (done - self.first_step)
        speed = self.recipe.batch_size / a_step if a_step else 0.0
        accuracy = self.evaluation.accuracy if self.evaluation else None
        left = (steps - done) * a_step
        return Progress(epoch, self.recipe.epochs, done, steps, loss, speed, left, accuracy)

    def _save(self, epoch: int) -> None:
        """Measure and save a finished epoch."""
        weights = stored_weights(self.loop.product, self.recipe.stored_as)
        measured = self.evaluation = self.loop.evaluate(weights)
        if not math.isfinite(measured.loss):  # the epoch's last step broke what was whole before
            self._diverge(self.loop.step_number - 1, epoch, " on the test images")
        for text in (*self.loop.train_images.notes, *self.loop.test_images.notes):
            self.note(text)  # images that could not be read
        train_loss = float(self.total) / self.loop.steps_per_epoch
        self.total = torch.zeros(())
        self.standing.epoch, self.standing.batch = epoch + 1, 0
        if not self.loop.world.is_first:
            return
        try:
            self._write(epoch, self._row(epoch, train_loss, measured), weights)
        except OutputError as error:
            raise OutputError(f"{error} {self._what_is_kept()}") from error
        self.saved_epoch = epoch

    def _write(self, epoch: int, row: dict[str, Any], weights: dict[str, torch.Tensor]) -> None:
        """Write an epoch: the weights first, so that nothing beside them is newer."""
        is_last = epoch == self.recipe.epochs
        with self._begun():
            self.folder.save_weights(weights)
            self._keep_best(epoch, weights)
            self.folder.add_metrics(row)
            if is_last or epoch % self.recipe.snapshot_every == 0:
                self._save_snapshot(self._snapshot(epoch), epoch)
            self._save_config(FINISHED if is_last else "in training", epoch)
            if is_last:
                self._save_curves()
                self.folder.end()
            else:
                self._save_resume()
        if self.board:
            self.board.epoch(row)

    def _keep_best(self, epoch: int, weights: dict[str, torch.Tensor]) -> None:
        """Keep the weights of the epoch that does best on the test images, beside the last."""
        metrics = self._metrics()
        if metrics["test_accuracy"] > self.standing.best.get("test_accuracy", -1):
            self.standing.best = {"file": BEST, "epoch": epoch, **metrics, "chosen": CHOSEN}
            self.folder.save_weights(weights, BEST)

    def _row(self, epoch: int, train_loss: float, evaluation: SplitScore) -> dict[str, Any]:
        row = {
            "epoch": epoch,
            "step": self.loop.step_number,
            "lr": f"{self._lr_of(self.loop.step_number - 1):.4g}",
            "train_loss": f"{train_loss:.5f}",
            "test_loss": f"{evaluation.loss:.5f}",
            "test_accuracy": f"{evaluation.accuracy:.4f}",
            "seconds": f"{self._seconds(self.clock()):.1f}",
        }
        return {**row, "schedule": self._schedule} if self.recipe.extends else row

    @property
    def _schedule(self) -> int:
        """Which schedule its epochs are of, counted over the runs that it extends."""
        before = [row for row in self.folder.rows if int(row["epoch"]) <= self.recipe.extends]
        return 1 + max((int(row["schedule"]) for row in before), default=1)

    def _seconds(self, now: float) -> float:
        return self.standing.seconds + now - self.started

    @contextmanager
    def _begun(self) -> Iterator[None]:
        """Write files of this run; the first ones take the place of an earlier run's together."""
        if self.folder.is_begun:
            yield
            return
        with self.folder.begun():
            self._save_snapshot(self.initial, 0)
            yield

    def _snapshot(self, epoch: int) -> PositionEmbedding | None:
        try:
            return snapshot(self.loop.product, f"{self.recipe.name}, epoch {epoch}")
        except NoPositionEmbedding:
            scheme = self.recipe.model.scheme
            self.note(f"Scheme {scheme} has no position embedding: the run leaves no snapshots.")
            return None

    def _save_snapshot(self, pe: PositionEmbedding | None, epoch: int) -> None:
        if pe is not None:
            self.folder.save_snapshot(pe, epoch)

    def _metrics(self) -> dict[str, float]:
        if not self.evaluation:
            return {}
        return {
            "test_accuracy": round(self.evaluation.accuracy, 4),
            "test_loss": round(self.evaluation.loss, 5),
        }

    def _save_curves(self) -> None:
        if self.draw_curves:
            self.folder.save_curves(self.draw_curves)

    def _save_config(self, status: str, epochs: int) -> None:
        metrics: dict[str, Any] = {"epochs": epochs, "steps": self.loop.step_number}
        metrics |= self._metrics()
        now = self.clock()
        metrics["seconds"] = round(self._seconds(now), 1)
        saved_at = datetime.fromtimestamp(now, tz=UTC).isoformat(timespec="seconds")
        facts = {"status": status, "saved_at": saved_at, "metrics": metrics}
        if self.standing.best:
            facts["best"] = self.standing.best
        if self.recipe.extends:
            facts["extended"] = {"from_epoch": self.recipe.extends, "schedule": self._schedule}
        if self.notes:
            facts["notes"] = self.notes
        self.folder.save_config(facts | circumstances(self.recipe, self.dataset, self.loop))

    def _save_resume(self) -> None:
        now = Standing(
            epoch=self.standing.epoch,
            batch=self.standing.batch,
            step=self.loop.step_number,
            seconds=self._seconds(self.clock()),
            rows=self.folder.rows,
            best=self.standing.best,
            is_begun=self.folder.is_begun,
            data=self.data,
            precision=str(self.loop.dtype),
        )
        tensors = {**self.loop.state(), TOTAL: self.total}
        self.folder.save_resume(resume_content(self.recipe, now, tensors))

    def _stop(self, epoch: int) -> NoReturn:
        """Save the weights of this very step, not evaluated, and leave.

        What an earlier run left is worth more than the beginning of an epoch, and stays. The first
        process alone knows what is there, and speaks.
        """
        epochs, step = self.recipe.epochs, self.loop.step_number
        where = f"Stopped in epoch {epoch} of {epochs}, after step {step}."
        if not self.loop.world.is_first:
            raise TrainingInterrupted(where)
        if self.folder.holds_an_interrupted_run:
            kept = stays(self.folder.path)
            raise TrainingAbandoned(f"{where} {kept} What this one did is lost.")
        what = f"The weights of that step are in {self.folder.path}"
        if self.folder.holds_an_earlier_run:
            what = f"The earlier run in {self.folder.path} is as it was, and {RESUME} is this one's"
        try:
            self._write_stop(epoch)
        except OutputError as error:
            raise OutputError(f"{error} {self._what_is_kept()}") from error
        raise TrainingInterrupted(f"{where} {what}; --resume goes on from there.")

    def _write_stop(self, epoch: int) -> None:
        if self.folder.holds_an_earlier_run:
            self._save_resume()
            return
        with self._begun():
            self.evaluation = None
            weights = stored_weights(self.loop.product, self.recipe.stored_as)
            self.folder.save_weights(weights)
            self._save_config(f"interrupted in epoch {epoch}", epoch - 1)
            if self.folder.rows:
                self._save_curves()
            self._save_resume()

    def _diverge(self, step: int, epoch: int, where: str = "") -> NoReturn:
        raise TrainingDiverged(
            f"The loss{where} is no longer a number: step {step + 1}, epoch {epoch}, "
            f"lr {self._lr_of(step):.4g}; {self._last_good()}. "
            f"Try a lower rate, e.g. --set lr={self.recipe.lr / 4:.2g}."
        )

    def _last_good(self) -> str:
        """Say what the folder's weights are, where they are this run's."""
        if not self.folder.is_begun:
            return "no checkpoint was saved yet"
        held = f"step {self._resumed_at}" if self._resumed_at else f"epoch {self.saved_epoch}"
        return f"{self.folder.path / WEIGHTS} holds {held}"

    def _what_is_kept(self) -> str:
        if self.folder.holds_an_interrupted_run:
            return stays(self.folder.path)
        goes_on = f"step {self._resumed_at}" if self._resumed_at else f"epoch {self.saved_epoch}"
        if goes_on == "epoch 0":
            earlier = f"The earlier run in {self.folder.path} is as it was. "
            nothing = "There is nothing yet that --resume could go on from."
            return earlier + nothing if self.folder.holds_an_earlier_run else nothing
        return f"What was saved is whole: --resume goes on after {goes_on}, once there is room."

    @property
    def _resumed_at(self) -> int:
        """The step that the run was resumed at, in an epoch that was not saved since; else 0."""
        is_within = self.first_step > self.saved_epoch * self.loop.steps_per_epoch
        return self.first_step if is_within else 0

    def _lr_of(self, step: int) -> float:
        return learning_rate(self.recipe, step, self.loop.steps_per_epoch)
