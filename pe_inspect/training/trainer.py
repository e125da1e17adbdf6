"""`train(recipe)` → the folder of a checkpoint: where it happens, who writes, and what goes on."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Final

import torch

from pe_inspect.checkpoint_files import FINISHED
from pe_inspect.data.by_name import load
from pe_inspect.errors import UsageError
from pe_inspect.training.board import Board
from pe_inspect.training.fit import check_fits, check_readable
from pe_inspect.training.hardware import exact_algorithms
from pe_inspect.training.interrupt import deferred_interrupt
from pe_inspect.training.lock import locked
from pe_inspect.training.loop import Loop
from pe_inspect.training.progress import (
    Progress,
    TrainingAbandoned,
    TrainingDiverged,
    TrainingInterrupted,
)
from pe_inspect.training.recipe import Recipe
from pe_inspect.training.resume import RESUME, differing, refusal
from pe_inspect.training.run import Run
from pe_inspect.training.run_folder import CONFIG, DrawCurves, RunFolder
from pe_inspect.training.world import World, joined_world

__all__ = ["Progress", "TrainingAbandoned", "TrainingDiverged", "TrainingInterrupted", "train"]

FLOAT: Final = 4  # bytes


def train(
    recipe: Recipe,
    *,
    out: str | Path | None = None,
    device: str = "auto",
    root: str | Path | None = None,
    force: bool = False,
    resume: bool = False,
    tensorboard: bool = False,
    progress: Callable[[Progress], object] | None = None,
    say: Callable[[str], object] | None = None,
    draw_curves: DrawCurves | None = None,
    clock: Callable[[], float] = time.time,
) -> Path:
    """Train a recipe and return the folder of its checkpoint.

    After every epoch `model.safetensors` holds that epoch's weights: always the last finished
    ones, never a choice made on the test images. `best.safetensors` beside it is such a choice.
    With them are `config.json`, `metrics.csv`, `evolution/`, `curves.png` where somebody draws it,
    and, until the last epoch is done, `resume.safetensors`. What an earlier run left in the folder
    is replaced at the end of the first epoch, when all that takes its place is on the disk.

    The same recipe gives the same weights, to the byte, on one kind of CPU (on a GPU with
    `deterministic = true`), whether or not it was interrupted and resumed in between, in as many
    processes. A run is resumed by the recipe that it was begun with: of other epochs, every
    step's learning rate would be another.

    Under `torchrun` each process trains its part of every batch, and the first one writes; all
    of them read the folder.

    Args:
        recipe: what to train.
        out: the folder; `checkpoints/NAME` unless given.
        device: `"auto"`, `"cpu"`, `"cuda"`, `"cuda:1"`, …
        root: where datasets lie; `data/` unless given.
        force: overwrite files that pe-inspect did not make.
        resume: go on from the folder's `resume.safetensors`; a run that is finished stays so,
            and one that was never begun begins.
        tensorboard: also write event files.
        progress: called every few steps.
        say: called with what is worth knowing, a line each.
        draw_curves: called with the rows of `metrics.csv` and a file, which becomes `curves.png`;
            `pe_inspect.figures.training.write_curves` is such a function.
        clock: seconds; the same clock times the run and dates it.

    Raises:
        UsageError: the device or the data is not there, the images are not the model's, or the
            run to resume is damaged or another recipe's.
        OutputError: the folder cannot be written, or another run is writing there.
        TrainingDiverged: the loss is no longer a number.
        TrainingInterrupted: Ctrl-C or SIGTERM; the step was finished and saved.
        TrainingAbandoned: Ctrl-C or SIGTERM in the first epoch of a run into the folder of an
            interrupted one, which is as it was.
    """
    folder = RunFolder(Path(out) if out else Path("checkpoints") / recipe.name, force)
    with ExitStack() as stack:
        world = stack.enter_context(joined_world(device))
        stack.enter_context(exact_algorithms(recipe.deterministic))
        stack.enter_context(_callers_random_state(world.device))
        if world.is_first:
            folder.claim()
            stack.enter_context(locked(folder.path))
        else:
            progress = say = None
        if resume and _is_finished(folder.path, recipe):
            (say or _nobody)(f"{folder.path} holds the finished run already.")
            return folder.path
        run = _begun(recipe, root, folder, world, clock)
        run.progress, run.say, run.draw_curves = progress, say, draw_curves
        _take_up(run, resume=resume)
        if tensorboard and world.is_first:
            run.board = Board(folder.path, run.first_step)
            stack.callback(run.board.close)
        with deferred_interrupt(patient=world.size > 1) as interrupt:
            for epoch in range(run.standing.epoch, recipe.epochs + 1):
                run.epoch(epoch, interrupt)
    return folder.path


def _begun(
    recipe: Recipe,
    root: str | Path | None,
    folder: RunFolder,
    world: World,
    clock: Callable[[], float],
) -> Run:
    """Return a run before its first step, once everything that it needs is there."""
    dataset = load(
        recipe.data,
        root=root,
        img_size=recipe.model.img_size,
        stream=recipe.stream,
        strict=recipe.strict,
    )
    check_fits(recipe, dataset)
    check_readable(dataset)
    folder.demand_room(_bytes_written(recipe))
    return Run(recipe, dataset, Loop(recipe, dataset, world.device, world), folder, clock)


def _take_up(run: Run, *, resume: bool) -> None:
    """Say what the folder holds of an interrupted run, and go on from there if asked to."""
    for text in run.notes:
        run.tell(text)
    for text in (*run.recipe.notes, *run.loop.train_images.notes):
        run.note(text)
    if run.recipe.warmup_epochs >= run.recipe.epochs:
        run.tell(
            f"The warm-up of {run.recipe.warmup_epochs:g} epochs is the whole run: its rate never "
            "falls. A shorter one: --set warmup_epochs=1."
        )
    is_there = (run.folder.path / RESUME).exists()
    if resume and is_there:
        run.resume()
    elif resume:
        run.tell(f"{run.folder.path} holds no interrupted run: this one begins at its beginning.")
    elif is_there:
        run.tell(
            f"{run.folder.path} holds an interrupted run, which this one replaces after its first "
            "epoch; --resume goes on with it instead."
        )


def _is_finished(folder: Path, recipe: Recipe) -> bool:
    """Whether there is nothing left to resume: a finished run of this recipe.

    Raises:
        UsageError: it is of another recipe, or a run that left nothing to go on from.
    """
    if (folder / RESUME).exists() or not (folder / CONFIG).exists():
        return False
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        status, theirs = config["status"], Recipe.from_dict(config["recipe"])
    except (OSError, ValueError, KeyError, TypeError, UsageError) as error:
        raise UsageError(
            f"{folder / CONFIG} cannot be read as that of a run. Leave --resume out to train anew."
        ) from error
    if status != FINISHED:
        raise UsageError(
            f"The run in {folder} is {status}, and its {RESUME} is missing: it cannot go on. "
            "Leave --resume out to train anew."
        )
    wrong = differing(theirs, recipe)
    if wrong:
        raise UsageError(refusal(folder, wrong))
    return True


def _bytes_written(recipe: Recipe) -> int:
    """Return about what a run has on the disk at once: its files, and the next resume file."""
    tables = recipe.epochs // recipe.snapshot_every * recipe.model.num_position_parameters
    copies = 2 * (3 + bool(recipe.ema_decay)) + 3
    return FLOAT * (copies * recipe.num_parameters + tables)


def _callers_random_state(device: torch.device) -> AbstractContextManager[None]:
    """Return a context after which the global generators are as they were."""
    own = [device] if device.type == "cuda" else []
    return torch.random.fork_rng(devices=own)


def _nobody(_text: str) -> None:
    """Where nobody listens."""
