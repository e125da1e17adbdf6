"""What a folder holds of a run already, and what a further one may do with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from pe_inspect.bounded import json_in, typed
from pe_inspect.checkpoint_files import FINISHED, WEIGHTS
from pe_inspect.errors import OutputError, UsageError
from pe_inspect.training.recipe import Recipe
from pe_inspect.training.resume import RESUME, differing, refusal, spoken, typed_as
from pe_inspect.training.run_folder import CONFIG

__all__ = ["EarlierRun", "earlier_run", "extension", "is_finished", "refuse_to_replace"]

# What a schedule of its own may have otherwise.
OF_A_SCHEDULE: Final = frozenset({"lr", "min_lr", "warmup_epochs", "schedule"})
LENGTH: Final = frozenset({"epochs", "extends"})


@dataclass(frozen=True)
class EarlierRun:
    """A run as its `config.json` tells it.

    Attributes:
        recipe: what was trained.
        status: `"finished"`, or how far it came.
        config: all that stands there.
    """

    recipe: Recipe
    status: str
    config: Mapping[str, Any]

    @property
    def is_finished(self) -> bool:
        """Whether it came to its end."""
        return self.status == FINISHED


def earlier_run(folder: Path) -> EarlierRun | None:
    """Return the run that a folder's `config.json` is of; `None` where there is no such file.

    Raises:
        UsageError: the file cannot be read as that of a run.
    """
    try:
        config = json_in(folder / CONFIG)
        return EarlierRun(Recipe.from_dict(config["recipe"]), typed(config["status"], str), config)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, UsageError) as error:
        raise UsageError(
            f"{folder / CONFIG} cannot be read as that of a run. Train into another --out, or pass "
            "--force to train anew here."
        ) from error


def is_finished(folder: Path, recipe: Recipe) -> bool:
    """Whether there is nothing left to resume: a finished run of this recipe.

    Raises:
        UsageError: it is of another recipe, or a run that left nothing to go on from.
    """
    earlier = None if (folder / RESUME).exists() else earlier_run(folder)
    if earlier is None:
        return False
    if not earlier.is_finished:
        raise UsageError(
            f"The run in {folder} is {earlier.status}, and its {RESUME} is missing: it cannot go "
            "on. Leave --resume out to train anew."
        )
    wrong = differing(earlier.recipe, recipe)
    if wrong:
        raise UsageError(refusal(folder, wrong))
    return True


def refuse_to_replace(folder: Path, recipe: Recipe) -> None:
    """Stop where training would destroy a run: all but this one's own unfinished beginning.

    Raises:
        OutputError: what is there, and the ways to keep it or not.
        UsageError: its `config.json` cannot be read.
    """
    earlier = earlier_run(folder)
    if earlier is None:
        _refuse_untold(folder)
        return
    wrong = differing(earlier.recipe, recipe)
    if wrong or earlier.is_finished:
        raise OutputError(_refusal_to_replace(folder, earlier, wrong))


def _refuse_untold(folder: Path) -> None:
    for name in (WEIGHTS, RESUME):
        if (folder / name).exists():
            raise OutputError(
                f"{folder / name} is of a run that no {CONFIG} tells of. Train into another --out, "
                "or pass --force to replace it."
            )


def _refusal_to_replace(
    folder: Path, earlier: EarlierRun, wrong: Mapping[str, tuple[Any, Any]]
) -> str:
    ways = "train into another --out, or pass --force to replace it."
    if not wrong:
        return (
            f"{folder} holds this run already, finished. To keep it: --resume leaves it as it is, "
            f"--extend N goes on from its weights. Else {ways}"
        )
    if earlier.is_finished:
        return (
            f"{folder} holds a finished run of another recipe: {spoken(wrong)}. "
            f"{ways.capitalize()} --resume and --extend go on with a run of the same recipe alone."
        )
    return (
        f"{folder} holds an unfinished run ({earlier.status}) of another recipe: {spoken(wrong)}. "
        f"To go on with it: {typed_as(wrong)} --resume. Else {ways}"
    )


def extension(folder: Path, recipe: Recipe, epochs: int, *, resume: bool) -> Recipe:
    """Return the recipe that trains a folder's finished run further, by a schedule of its own.

    Under `resume` it is that of an extension of as many epochs that has begun there.

    Raises:
        UsageError: there is no finished run of this recipe.
    """
    if epochs < 1:
        raise UsageError(f"--extend is {epochs}; it must be at least 1, epochs to add.")
    earlier = earlier_run(folder)
    if earlier is None:
        raise UsageError(
            f"{folder} holds no run to extend. Leave --extend out to train one, or name the "
            "folder of a finished one by --out."
        )
    theirs = earlier.recipe
    if resume and theirs.extends and theirs.epochs - theirs.extends == epochs:
        return replace(recipe, epochs=theirs.epochs, extends=theirs.extends)
    _check_extensible(folder, earlier, recipe, resume=resume)
    return replace(recipe, epochs=theirs.epochs + epochs, extends=theirs.epochs)


def _check_extensible(folder: Path, earlier: EarlierRun, recipe: Recipe, *, resume: bool) -> None:
    if not earlier.is_finished:
        ways = "leave --extend out" if resume else "pass --resume"
        raise UsageError(
            f"The run in {folder} is {earlier.status}; a finished one can be extended. To go on "
            f"with this one {ways}."
        )
    if (folder / RESUME).exists():
        raise UsageError(
            f"{folder / RESUME} is of another run, which was begun over the finished one. Remove "
            "it to extend the finished one."
        )
    wrong = differing(earlier.recipe, recipe)
    wrong = {key: pair for key, pair in wrong.items() if key not in OF_A_SCHEDULE | LENGTH}
    if wrong:
        raise UsageError(refusal(folder, wrong))
