"""Training with its progress on stderr: a line that moves on a terminal, one an epoch elsewhere.

And what is said before and after it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

import typer

from pe_inspect.bounded import json_in
from pe_inspect.commands.shell.describe import aligned, command_line, number, versions
from pe_inspect.commands.shell.explaining import OF_TRAINING, explained
from pe_inspect.commands.shell.terminal import (
    complain,
    move_line,
    on_a_terminal,
    write_json,
    write_line,
    write_lines,
)
from pe_inspect.errors import PEInspectError
from pe_inspect.training.launch import launched

if TYPE_CHECKING:
    from pe_inspect.commands.shell.options import Terminal
    from pe_inspect.training import Progress, Recipe

__all__ = [
    "announce", "duration", "expected_time", "first_speaks", "tell_trained", "train_with_progress",
]  # fmt: skip

INTERRUPTED: Final = 130
MADE: Final = (
    *("model.safetensors", "best.safetensors", "config.json", "metrics.csv"),
    "curves.png",
)


def announce(recipe: Recipe, extend: int = 0) -> None:
    """Say what is trained, or trained further, and how long that takes."""
    further = f" {extend} epochs further" if extend else ""
    alone = replace(recipe, epochs=extend) if extend else recipe
    complain(f"Training {recipe.name}{further}: {expected_time(alone)}.")


def tell_trained(folder: Path, export: Path | None, terminal: Terminal) -> None:
    """Say what a run has reached, and which files it left."""
    config = json_in(folder / "config.json")
    written = [folder / name for name in MADE if (folder / name).exists()]
    written += [export] if export else []
    if terminal.json:
        about = {"versions": versions(), "command": command_line()}
        write_json({**config, "written": written, **about})
        return
    if not terminal.quiet:
        lines = aligned({name: number(value) for name, value in config["metrics"].items()})
        known = {name: OF_TRAINING[name] for name in config["metrics"] if name in OF_TRAINING}
        write_lines(explained(lines, known) if terminal.explain else lines)
    for path in written:
        write_line(f"Wrote {path}")


def train_with_progress(
    recipe: Recipe, *, quiet: bool, is_resumed: bool | None = None, **options: Any
) -> Path:
    """Train a recipe and return the folder of its checkpoint.

    Args:
        recipe: what to train.
        quiet: show no progress.
        is_resumed: whether this very command goes on with an interrupted run; `None` for
            commands that train on the way to something else.
        options: of `pe_inspect.training.train`, and `resume` where that was said.
    """
    from pe_inspect.training import TrainingDiverged, TrainingInterrupted, train

    moving = not quiet and on_a_terminal()
    if not quiet:
        options |= {"progress": _moving if moving else _Lines(recipe.name), "say": _aside}
    again = f"pe-inspect train {recipe.name} --resume"
    if is_resumed is not None:
        again = _again(is_resumed)
    try:
        with first_speaks(TrainingInterrupted, TrainingDiverged):
            return train(recipe, draw_curves=_draw_curves, **options)
    except TrainingInterrupted as error:
        raise TrainingInterrupted(f"{error}\nGo on with: {again}") from error
    finally:
        if moving:
            move_line("")


def _again(is_resumed: bool) -> str:
    """Return what to type to go on with this run."""
    if launched().size > 1:
        return "the same torchrun command with --resume"
    return command_line() if is_resumed else f"{command_line()} --resume"


@contextmanager
def first_speaks(*alike: type[BaseException]) -> Iterator[None]:
    """Let the first of several processes alone tell an error that all of them meet.

    Args:
        alike: such errors; ours of every kind unless given.
    """
    kinds = alike or (PEInspectError,)
    try:
        yield
    except kinds as error:
        if launched().is_first:
            raise
        raise typer.Exit(getattr(error, "exit_code", INTERRUPTED)) from error


def duration(minutes: float) -> str:
    """Return minutes in words: `40 s`, `7 min`, `2.5 h`; `not timed` for 0."""
    if minutes <= 0:
        return "not timed"
    if minutes < 1.5:
        return f"{minutes * 60:.0f} s"
    return f"{minutes:.0f} min" if minutes < 90 else f"{minutes / 60:.1f} h"


def expected_time(recipe: Recipe) -> str:
    """Return `about 7 min on 2 CPU cores`, or that nobody knows."""
    if recipe.expected_minutes <= 0:
        return "its first epoch tells how long it takes"
    return f"about {duration(recipe.expected_minutes)} on {recipe.timed_on}"


def _draw_curves(rows: Sequence[Mapping[str, Any]], file: IO[bytes]) -> None:
    from pe_inspect.figures.training import write_curves  # after training, and for the first alone

    write_curves(rows, file)


def _aside(text: str) -> None:
    """Say something between two lines of progress."""
    if on_a_terminal():
        move_line("")
    complain(text)


def _moving(progress: Progress) -> None:
    move_line(_line(progress))


@dataclass
class _Lines:
    """One line when an epoch begins."""

    name: str
    epoch: int = 0

    def __call__(self, progress: Progress) -> None:
        if progress.epoch != self.epoch:
            self.epoch = progress.epoch
            complain(f"{self.name}: {_line(progress)}")


def _line(progress: Progress) -> str:
    parts = [
        f"epoch {progress.epoch}/{progress.epochs}",
        f"step {progress.step:,}/{progress.steps:,}",
        f"loss {progress.loss:.3f}",
        *([] if progress.accuracy is None else [f"accuracy {progress.accuracy:.1%}"]),
        f"{progress.images_per_second:,.0f} images/s",
        f"{duration(max(progress.seconds_left, 1) / 60)} left",
    ]
    return " · ".join(parts)
