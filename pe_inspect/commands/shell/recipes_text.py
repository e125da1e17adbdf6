"""Recipes as lines of a terminal: a table, or blocks where it is narrow, and sources below."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from itertools import groupby
from textwrap import wrap
from typing import Any, Final

from pe_inspect.commands.shell.describe import table
from pe_inspect.commands.shell.training import duration

__all__ = ["recipe_lines"]

INDENT: Final = "    "
NARROWEST: Final = 40
FEW: Final = 4  # members of a family that are listed one by one in the overview
COLUMNS: Final = (
    *("recipe", "scheme", "join", "data", "parameters", "epochs", "takes"),
    *("published", "here"),
)
PUBLISHED: Final = COLUMNS.index("published")


def recipe_lines(described: list[dict[str, Any]], *, overview: bool) -> list[str]:
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
