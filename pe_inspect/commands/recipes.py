"""`pe-inspect recipes`: what can be trained, and named without a file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pe_inspect.commands import MAKE, command
from pe_inspect.commands._describe import table
from pe_inspect.commands._options import Terminal
from pe_inspect.commands._terminal import write_json, write_line
from pe_inspect.commands._training import duration

if TYPE_CHECKING:
    from pe_inspect.training import Recipe


@command("recipes", panel=MAKE)
def recipes(terminal: Terminal) -> None:
    """What can be trained, and named in the place of a file."""
    from pe_inspect.training import recipes as known

    described = [_described(recipe) for recipe in known.values()]
    if terminal.json:
        write_json({"recipes": described})
        return
    if terminal.quiet:
        rows = [[each["name"]] for each in described]
    else:
        rows = [list(HEADINGS), *(_row(each) for each in described)]
    for line in table(rows):
        write_line(line)


HEADINGS = ("recipe", "scheme", "join", "data", "parameters", "epochs", "takes", "checkpoint")


def _described(recipe: Recipe) -> dict[str, Any]:
    from pe_inspect.training import DEFAULT_RECIPE, checkpoint_folder
    from pe_inspect.training.catalog import WEIGHTS

    weights = checkpoint_folder(recipe.name) / WEIGHTS
    return {
        "name": recipe.name,
        "description": recipe.description,
        "scheme": recipe.model.scheme,
        "join": recipe.model.join,
        "data": recipe.data,
        "num_parameters": recipe.num_parameters,
        "epochs": recipe.epochs,
        "expected_minutes": recipe.expected_minutes,
        "timed_on": recipe.timed_on,
        "is_default": recipe.name == DEFAULT_RECIPE,
        "checkpoint": str(weights) if weights.is_file() else None,
    }


def _row(each: dict[str, Any]) -> list[str]:
    return [
        each["name"] + (" (default)" if each["is_default"] else ""),
        each["scheme"],
        each["join"],
        each["data"],
        f"{each['num_parameters']:,}",
        str(each["epochs"]),
        duration(each["expected_minutes"]),
        "here" if each["checkpoint"] else "not yet",
    ]
