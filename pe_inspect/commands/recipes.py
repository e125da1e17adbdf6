"""`pe-inspect recipes`: what can be trained, and named without a file."""

from __future__ import annotations

import json
import shutil
from fnmatch import fnmatch
from itertools import groupby
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from pe_inspect.commands import MAKE, command
from pe_inspect.commands._describe import table
from pe_inspect.commands._options import Terminal
from pe_inspect.commands._terminal import write_json, write_line
from pe_inspect.commands._training import duration
from pe_inspect.errors import UsageError
from pe_inspect.registry import did_you_mean

if TYPE_CHECKING:
    from pe_inspect.training import Recipe

INDENT: Final = "    "
NARROWEST: Final = 40
FEW: Final = 4  # members of a family that are listed one by one in the overview
COLUMNS: Final = (
    *("recipe", "scheme", "join", "data", "parameters", "epochs", "takes"),
    *("published", "here"),
)

_Name = Annotated[
    str | None,
    typer.Argument(metavar="[NAME]", help="Only those: schh, 'zoo-*-lape', …", show_default=False),
]
_Data = Annotated[
    str | None,
    typer.Option("--data", metavar="NAME", help="Only those on that dataset.", show_default=False),
]
_Scheme = Annotated[
    str | None,
    typer.Option("--scheme", metavar="NAME", help="Only those of that scheme.", show_default=False),
]
_Join = Annotated[
    str | None,
    typer.Option("--join", metavar="NAME", help="Only those of that join.", show_default=False),
]


@command("recipes", panel=MAKE)
def recipes(
    terminal: Terminal,
    name: _Name = None,
    data: _Data = None,
    scheme: _Scheme = None,
    join: _Join = None,
) -> None:
    """What can be trained, and named in the place of a file."""
    wanted = {"data": data, "scheme": scheme, "join": join}
    described = _chosen(_all(), name, {key: word for key, word in wanted.items() if word})
    if terminal.json:
        write_json({"recipes": described})
        return
    if terminal.quiet:
        lines = [each["name"] for each in described]
    else:
        lines = _lines(described, overview=not name and not any(wanted.values()))
    for line in lines:
        write_line(line)


def _all() -> list[dict[str, Any]]:
    from pe_inspect.training import recipes as known

    return [_described(recipe, known.family(name)) for name, recipe in known.items()]


def _described(recipe: Recipe, family: str) -> dict[str, Any]:
    from pe_inspect.training import DEFAULT_RECIPE, checkpoint_folder
    from pe_inspect.training.catalog import WEIGHTS

    weights = checkpoint_folder(recipe.name) / WEIGHTS
    here = _measured(weights.with_name("config.json"))
    minutes, timed_on = recipe.expected_minutes, recipe.timed_on
    if not minutes and here["epochs"] == recipe.epochs:
        minutes, timed_on = (here["seconds"] or 0) / 60, here["machine"]
    return {
        "name": recipe.name,
        "family": family,
        "description": recipe.description,
        "scheme": recipe.model.scheme,
        "join": recipe.model.join,
        "data": recipe.data,
        "num_parameters": recipe.num_parameters,
        "epochs": recipe.epochs,
        "expected_minutes": minutes or None,
        "timed_on": timed_on if minutes else None,
        "expected_accuracy": recipe.expected_accuracy or None,
        "accuracy_source": recipe.accuracy_source or None,
        "is_default": recipe.name == DEFAULT_RECIPE,
        "checkpoint": str(weights) if weights.is_file() else None,
        "measured": here if weights.is_file() else None,
    }


def _measured(config: Path) -> dict[str, Any]:
    """Return what the config.json beside a checkpoint says of its accuracy and its making."""
    try:
        saved = json.loads(config.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        saved = {}
    metrics, data = saved.get("metrics", {}), saved.get("data", {})
    return {
        "accuracy": metrics.get("test_accuracy"),
        "data": data.get("label"),
        "epochs": metrics.get("epochs"),
        "seconds": metrics.get("seconds"),
        "machine": saved.get("machine"),
    }


def _chosen(
    described: list[dict[str, Any]], name: str | None, wanted: dict[str, str]
) -> list[dict[str, Any]]:
    """Return the recipes that were asked for, or say which words there are."""
    for key, word in wanted.items():
        known = sorted({each[key] for each in described})
        if word not in known:
            raise UsageError(did_you_mean(key, word, known))
        described = [each for each in described if each[key] == word]
    if name is None:
        return described
    found = [each for each in described if name in each["name"] or fnmatch(each["name"], name)]
    if not found:
        raise UsageError(did_you_mean("recipe", name, [each["name"] for each in described]))
    return found


def _lines(described: list[dict[str, Any]], *, overview: bool) -> list[str]:
    """Return a table with what its numbers come from; blocks where the terminal is narrow."""
    width = max(NARROWEST, shutil.get_terminal_size().columns)
    rows = _overview(described) if overview else [_row(each) for each in described]
    lines = table([list(COLUMNS), *rows])
    if max(map(len, lines)) > width:
        lines = [line for row in rows for line in _block(row, width)]
    ends = _sources(described) if not overview else [_AND_MORE]
    return [*lines, "", *(line for end in ends for line in wrap(end, width))]


_AND_MORE: Final = (
    "NAME-* stands for several: `pe-inspect recipes NAME` lists them; "
    "--data, --scheme and --join choose, too; --json says all."
)


def _overview(described: list[dict[str, Any]]) -> list[list[str]]:
    """Return a row a recipe, but one for all of a large family."""
    rows = []
    for family, members in groupby(described, key=lambda each: str(each["family"])):
        several = list(members)
        few = len(several) <= FEW
        rows += [_row(each) for each in several] if few else [_family_row(family, several)]
    return rows


def _row(each: dict[str, Any]) -> list[str]:
    return [
        each["name"] + (" (default)" if each["is_default"] else ""),
        each["scheme"],
        each["join"],
        each["data"],
        f"{each['num_parameters']:,}",
        str(each["epochs"]),
        duration(each["expected_minutes"] or 0),
        _percent(each["expected_accuracy"]),
        _percent(each["measured"]["accuracy"]) if each["measured"] else "not yet",
    ]


def _family_row(family: str, members: list[dict[str, Any]]) -> list[str]:
    made = sum(each["checkpoint"] is not None for each in members)
    takes = [each["expected_minutes"] for each in members if each["expected_minutes"]]
    published = [each["expected_accuracy"] for each in members if each["expected_accuracy"]]
    return [
        f"{family}-*",
        _one_or_count([each["scheme"] for each in members], "schemes"),
        _one_or_count([each["join"] for each in members], "joins"),
        _one_or_count([each["data"] for each in members], "sets"),
        _range([each["num_parameters"] for each in members], lambda n: f"{n:,}"),
        _range([each["epochs"] for each in members], str),
        _range(takes, duration) if takes else duration(0),
        _range(published, _percent) if published else _percent(None),
        f"{made} of {len(members)}",
    ]


def _one_or_count(words: list[str], what: str) -> str:
    distinct = set(words)
    return words[0] if len(distinct) == 1 else f"{len(distinct)} {what}"


def _range(values: list[Any], say: Any) -> str:
    low, high = say(min(values)), say(max(values))
    return low if low == high else f"{low} … {high}"


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{share:.2%}"


def _block(row: list[str], width: int) -> list[str]:
    """Return a row as a name with an indented paragraph."""
    name, scheme, join, data, parameters, epochs, takes, published, here = row
    text = (
        f"{scheme}, {join} · {data} · {parameters} parameters · {epochs} epochs · {takes} · "
        f"published {published} · here {here}"
    )
    return [name, *wrap(text, width, initial_indent=INDENT, subsequent_indent=INDENT)]


def _sources(described: list[dict[str, Any]]) -> list[str]:
    """Return where the published numbers come from, and what those here were measured on."""
    published = {each["accuracy_source"]: None for each in described if each["accuracy_source"]}
    here = {
        f"{each['measured']['data']}, {each['measured']['epochs']} epochs": None
        for each in described
        if each["measured"]
    }
    return [
        *(f"published: {source}." for source in published),
        *(f"here: top-1 on the test images of {where}." for where in here),
        "Top-1 on test images; – where nobody published it for this recipe.",
    ]
