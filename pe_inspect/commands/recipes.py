"""`pe-inspect recipes`: what can be trained, and named without a file."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from fnmatch import fnmatch
from itertools import groupby
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from pe_inspect.commands.shell import MAKE, command
from pe_inspect.commands.shell.describe import table
from pe_inspect.commands.shell.options import Terminal
from pe_inspect.commands.shell.terminal import write_json, write_line
from pe_inspect.commands.shell.training import duration
from pe_inspect.errors import UsageError
from pe_inspect.registry import did_you_mean

if TYPE_CHECKING:
    from pe_inspect.training import Recipe

INDENT: Final = "    "
NARROWEST: Final = 40
BEYOND: Final = 1e12  # seconds, epochs, shares: none of them comes near
FEW: Final = 4  # members of a family that are listed one by one in the overview
COLUMNS: Final = (
    *("recipe", "scheme", "join", "data", "parameters", "epochs", "takes"),
    *("published", "here"),
)
PUBLISHED: Final = COLUMNS.index("published")

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
    from pe_inspect.run_status import WEIGHTS
    from pe_inspect.training import DEFAULT_RECIPE, checkpoint_folder

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
    """Return what the config.json beside a checkpoint says of its accuracy and its making.

    Whatever it does not say, or says in another way than ours, is `None`.
    """
    try:
        saved = json.loads(config.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        saved = {}
    return {
        "accuracy": _number(_within(saved, "metrics", "test_accuracy")),
        "data": _text(_within(saved, "data", "label")),
        "epochs": _number(_within(saved, "metrics", "epochs")),
        "seconds": _number(_within(saved, "metrics", "seconds")),
        "machine": _text(_within(saved, "machine")),
    }


def _within(saved: Any, *keys: str) -> Any:
    for key in keys:
        saved = saved.get(key) if isinstance(saved, dict) else None
    return saved


def _number(value: Any) -> Any:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return value if is_number and 0 <= value < BEYOND else None


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


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
    """Return what is known of every recipe, and where its numbers come from."""
    width = max(NARROWEST, shutil.get_terminal_size().columns)
    sources = _numbered(described)
    groups = _groups(described) if overview else [[each] for each in described]
    ends = [*([_MORE] if overview else []), *_origins(described, sources)]
    return [
        *_body(groups, sources, width),
        "",
        *(line for end in ends for line in wrap(end, width)),
    ]


def _body(groups: list[list[dict[str, Any]]], sources: dict[str, int], width: int) -> Iterator[str]:
    """Yield a table with a line for every group; blocks where the terminal is narrow."""
    rows = [_group_row(group, sources) for group in groups]
    heading, *lines = table([list(COLUMNS), *rows])
    is_narrow = max(map(len, (heading, *lines))) > width
    if not is_narrow:
        yield heading
    for row, line, group in zip(rows, lines, groups):
        yield from _block(row, width) if is_narrow else [line]
        yield from _names(group, width)


_MORE: Final = (
    "NAME-* stands for the names below it: `pe-inspect recipes NAME` has a line for each; "
    "--data, --scheme and --join choose, too; --json says all."
)


def _groups(described: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """Return every recipe alone, but those of a large family together."""
    groups = []
    for _, members in groupby(described, key=lambda each: str(each["family"])):
        several = list(members)
        groups += [[each] for each in several] if len(several) <= FEW else [several]
    return groups


def _names(group: list[dict[str, Any]], width: int) -> list[str]:
    """Return the names of a family's members, as an indented paragraph."""
    names = ", ".join(each["name"] for each in group) if len(group) > 1 else ""
    return _paragraph(names, width)


def _paragraph(text: str, width: int) -> list[str]:
    return wrap(
        text, width, initial_indent=INDENT, subsequent_indent=INDENT, break_on_hyphens=False
    )


def _numbered(described: list[dict[str, Any]]) -> dict[str, int]:
    """Return the number of every source of a published accuracy."""
    named = (each["accuracy_source"] for each in described if each["expected_accuracy"])
    return {source: number for number, source in enumerate(dict.fromkeys(named), 1)}


def _group_row(group: list[dict[str, Any]], sources: dict[str, int]) -> list[str]:
    row = _row(group[0]) if len(group) == 1 else _family_row(str(group[0]["family"]), group)
    published = [each for each in group if each["expected_accuracy"]]
    cited = sorted({sources[each["accuracy_source"]] for each in published})
    if cited:
        row[PUBLISHED] += f" [{', '.join(map(str, cited))}]"
    return row


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
    return [name, *_paragraph(text, width)]


def _origins(described: list[dict[str, Any]], sources: dict[str, int]) -> list[str]:
    """Return where the numbers come from: the published ones, those here, and the times."""
    return [
        "published, here: top-1 on test images; – where there is none for this recipe.",
        *(f"[{number}] {source}." for source, number in sources.items()),
        *(f"here: {where}." for where in _measured_on(described)),
        f"takes: {_timed(described)}.",
    ]


def _measured_on(described: list[dict[str, Any]]) -> dict[str, None]:
    measured = [each["measured"] for each in described if each["measured"]]
    return {
        f"top-1 on the test images of {each['data']}, {each['epochs']} epochs": None
        for each in measured
        if each["accuracy"] is not None
    }


def _timed(described: list[dict[str, Any]]) -> str:
    machines = dict.fromkeys(each["timed_on"] for each in described if each["timed_on"])
    told = [f"as measured on {' or '.join(machines)}"] if machines else []
    is_whole = all(each["expected_minutes"] for each in described)
    return "; ".join([*told, *([] if is_whole else ["where not timed, the first epoch tells"])])
