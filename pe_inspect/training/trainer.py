"""`train(recipe)` → the folder of a checkpoint: where it happens, who writes, and what goes on."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Final, TypeAlias

import torch

from pe_inspect.data.by_name import load
from pe_inspect.data.dataset import Dataset
from pe_inspect.errors import UsageError
from pe_inspect.files import OutputFolder
from pe_inspect.training.board import Board
from pe_inspect.training.earlier_run import extension, is_finished, refuse_to_replace
from pe_inspect.training.export_pth import export as write_export
from pe_inspect.training.extending import begin_extension, labelled
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
from pe_inspect.training.resume import RESUME
from pe_inspect.training.run import Run
from pe_inspect.training.run_folder import DrawCurves, RunFolder
from pe_inspect.training.world import World, joined_world

__all__ = ["Progress", "TrainingAbandoned", "TrainingDiverged", "TrainingInterrupted", "train"]

FLOAT: Final = 4  # bytes

Say: TypeAlias = Callable[[str], object]


def train(
    recipe: Recipe,
    *,
    out: str | Path | None = None,
    device: str = "auto",
    root: str | Path | None = None,
    force: bool = False,
    resume: bool = False,
    extend: int = 0,
    tensorboard: bool = False,
    export: str | Path | None = None,
    progress: Callable[[Progress], object] | None = None,
    say: Say | None = None,
    draw_curves: DrawCurves | None = None,
    clock: Callable[[], float] = time.time,
) -> Path:
    """Train a recipe and return the folder of its checkpoint.

    After every epoch `model.safetensors` holds that epoch's weights: always the last finished
    ones, never a choice made on the test images. `best.safetensors` beside it is such a choice.
    With them are `config.json`, `metrics.csv`, `evolution/`, `curves.png` where somebody draws it,
    and, until the last epoch is done, `resume.safetensors`. A run that lies in the folder already
    is replaced under `force` alone, but for this one's own unfinished beginning: at the end of the
    first epoch, when all that takes its place is on the disk.

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
        force: replace another run, and files that pe-inspect did not make.
        resume: go on from the folder's `resume.safetensors`; a run that is finished stays so,
            and one that was never begun begins.
        extend: train the folder's finished run so many epochs further, from its weights and by a
            schedule of their own; what it left is kept in `before/`.
        tensorboard: also write event files.
        export: a `.pth` file that is written, too, in the layout of the original LaPE scripts.
        progress: called every few steps.
        say: called with what is worth knowing, a line each.
        draw_curves: called with the rows of `metrics.csv` and a file, which becomes `curves.png`;
            `pe_inspect.figures.training.write_curves` is such a function.
        clock: seconds; the same clock times the run and dates it.

    Raises:
        UsageError: the device or the data is not there, the images are not the model's, or the
            run to resume or to extend is damaged, another recipe's, or not there.
        OutputError: the folder cannot be written, holds a run that would be replaced, or another
            run is writing there.
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
            _claim(folder, export)
            stack.enter_context(locked(folder.path))
        else:
            progress = say = None
        recipe = _recipe_here(recipe, folder.path, extend, resume=resume)
        if resume and is_finished(folder.path, recipe):
            (say or _nobody)(f"{folder.path} holds the finished run already.")
        else:
            if not (force or extend or (resume and (folder.path / RESUME).exists())):
                refuse_to_replace(folder.path, recipe)
            run = _begun(recipe, _dataset(recipe, root, say), folder, world, clock)
            run.progress, run.say, run.draw_curves = progress, say, draw_curves
            _take_up(run, resume=resume)
            if tensorboard and world.is_first:
                run.board = Board(folder.path, run.first_step)
                stack.callback(run.board.close)
            _finish(run)
        if export and world.is_first:
            write_export(folder.path, export, force=force)
    return folder.path


def _claim(folder: RunFolder, export: str | Path | None) -> None:
    """Stop, before any computing, if a file would be overwritten that is not ours."""
    if export:
        target = Path(export)
        OutputFolder(target.parent, folder.force, option="--export").claim([target.name])
    folder.claim()


def _finish(run: Run) -> None:
    """Train the epochs that are left."""
    with deferred_interrupt(patient=run.loop.world.size > 1) as interrupt:
        for epoch in range(run.standing.epoch, run.recipe.epochs + 1):
            run.epoch(epoch, interrupt)


def _recipe_here(recipe: Recipe, folder: Path, extend: int, *, resume: bool) -> Recipe:
    """Return the recipe itself, or that of the folder's finished run with more epochs."""
    if extend:
        return extension(folder, recipe, extend, resume=resume)
    if recipe.extends:
        raise UsageError("extends is set by --extend alone; leave it out of the recipe.")
    return recipe


def _dataset(recipe: Recipe, root: str | Path | None, say: Say | None) -> Dataset:
    """Return a recipe's images, once they fit; where they do not, their notes may say why."""
    dataset = load(
        recipe.data,
        root=root,
        img_size=recipe.model.img_size,
        stream=recipe.stream,
        strict=recipe.strict,
    )
    try:
        check_fits(recipe, dataset)
    except UsageError:
        for text in dataset.notes:
            (say or _nobody)(text)
        raise
    check_readable(dataset)
    return dataset


def _begun(
    recipe: Recipe,
    dataset: Dataset,
    folder: RunFolder,
    world: World,
    clock: Callable[[], float],
) -> Run:
    """Return a run before its first step, once everything that it needs is there."""
    folder.demand_room(_bytes_written(recipe))
    return Run(recipe, dataset, Loop(recipe, dataset, world.device, world), folder, clock)


def _take_up(run: Run, *, resume: bool) -> None:
    """Say what the folder holds of an interrupted run, and go on from there if asked to."""
    for text in run.notes:
        run.tell(text)
    for text in (*run.recipe.notes, *run.loop.train_images.notes):
        run.note(text)
    own = run.recipe.own_epochs
    if run.recipe.warmup_epochs >= own:
        run.tell(
            f"The warm-up, warmup_epochs={run.recipe.warmup_epochs:g}, is the whole run: its rate "
            f"never falls. A shorter one: --set warmup_epochs={own / 10:g}."
        )
    if run.recipe.extends:
        run.note(labelled(run.recipe))
    is_there = (run.folder.path / RESUME).exists()
    if resume and is_there:
        run.resume()
    elif run.recipe.extends:
        begin_extension(run)
    elif resume:
        run.tell(f"{run.folder.path} holds no interrupted run: this one begins at its beginning.")
    elif is_there:
        run.tell(
            f"{run.folder.path} holds an interrupted run, which this one replaces after its first "
            "epoch; --resume goes on with it instead."
        )


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
