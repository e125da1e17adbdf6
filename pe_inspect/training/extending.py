"""A finished run goes on from its weights: more epochs, by a schedule of their own.

This is another thing than resuming: the optimizer's moments are gone with the run, and its rate,
which had come down, rises again. `config.json` and `metrics.csv` say so.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from pe_inspect.checkpoint_files import WEIGHTS
from pe_inspect.errors import UsageError
from pe_inspect.training.earlier_run import earlier_run
from pe_inspect.training.facts import through_json
from pe_inspect.training.recipe import Recipe
from pe_inspect.training.resume import Standing
from pe_inspect.training.run import Run
from pe_inspect.training.run_folder import BEST, METRICS

__all__ = ["begin_extension", "labelled"]


def labelled(recipe: Recipe) -> str:
    """Return what a run that extends another says of itself."""
    return (
        f"Epochs {recipe.extends + 1} to {recipe.epochs} extend a finished run of "
        f"{recipe.extends}: from its weights as they were saved ({recipe.stored_as}), by a "
        "schedule of their own; the optimizer began anew."
    )


def begin_extension(run: Run) -> None:
    """Go on from the finished run in the folder; a copy of what it left is set aside.

    Raises:
        UsageError: its weights or its history cannot be read, or it saw other images.
    """
    folder, done = run.folder, run.recipe.extends
    standing = _standing(run)
    try:
        run.loop.begin_from(_weights(folder.path / WEIGHTS), standing.step)
    except (RuntimeError, OSError, ValueError) as error:
        raise UsageError(
            f"{folder.path / WEIGHTS} cannot be gone on from ({error}). Train into another --out."
        ) from error
    run.go_on_from(standing)
    if run.loop.world.is_first:
        kept = folder.set_aside(done)
        folder.go_on(standing.rows)
        run.tell(f"Going on from epoch {done}, which {kept} keeps.")


def _standing(run: Run) -> Standing:
    """Return where the finished run came to.

    Raises:
        UsageError: its `config.json` is another one since, or it saw other images.
    """
    folder, done = run.folder.path, run.recipe.extends
    earlier = earlier_run(folder)
    if earlier is None or earlier.recipe.epochs != done:
        raise UsageError(f"The run in {folder} has changed meanwhile. Try again.")
    run.demand_same_images(folder, earlier.config.get("data"))
    metrics: Mapping[str, Any] = earlier.config.get("metrics", {})
    return Standing(
        epoch=done + 1,
        step=done * run.loop.steps_per_epoch,
        seconds=float(metrics.get("seconds", 0)),
        rows=_rows(folder / METRICS),
        best=dict(earlier.config.get("best", {})) if (folder / BEST).exists() else {},
        is_begun=True,
        data=through_json(run.data),
        precision=str(run.loop.dtype),
    )


def _rows(path: Path) -> list[Mapping[str, Any]]:
    """Return the history, in which each row says which schedule it is of."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
    except OSError:
        return []  # a checkpoint that was handed on without its history
    return [{**row, "schedule": row.get("schedule", "1")} for row in rows]


def _weights(path: Path) -> dict[str, torch.Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except SafetensorError as error:
        raise ValueError(str(error)) from error
