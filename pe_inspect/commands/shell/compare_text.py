"""A comparison as lines of a terminal and as JSON: every pair, and what each has more."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

from pe_inspect.commands.shell.describe import number, table
from pe_inspect.commands.shell.question_runner import parameters_and_summary

if TYPE_CHECKING:
    from pe_inspect.analysis.compare import CompareResult, Delta

__all__ = ["compare_lines", "told"]

_PAIR: Final = {
    "cka": "CKA",
    "cka_unbiased": "unbiased",
    "procrustes": "apart once aligned",
    "correlation": "maps correlate",
    "map_difference": "maps differ by",
}
"""Number of a pair → the head of its column."""


def compare_lines(result: CompareResult) -> Iterator[str]:
    """Yield the finding, a line a pair, and a line a number with its changes."""
    yield f"  {result.finding}"
    yield ""
    yield from _indented(table([["", "", *_PAIR.values()], *_pairs(result)]))
    yield ""
    yield from _indented(table(list(_deltas(result))))


def _pairs(result: CompareResult) -> Iterator[list[str]]:
    for row in result.rows():
        yield [row["first"], row["second"], *(_text(row[name]) for name in _PAIR)]


def _deltas(result: CompareResult) -> Iterator[list[str]]:
    """Every number of the first embedding, and what the others have more, with its unit."""
    yield ["", result.labels[0], *(f"{label}: Δ" for label in result.labels[1:])]
    for name, index in result.indices.items():
        changes = [one for one in result.deltas if one.name == name]
        words = f"{index.words} ({index.unit})" if index.unit else index.words
        yield [words, _text(result.numbers[0][name]), *map(_signed, changes)]


def told(result: CompareResult) -> dict[str, Any]:
    """Return what the JSON object holds: every pair, every number, and its changes."""
    return {
        **parameters_and_summary(result),
        "finding": result.finding,
        "names": list(result.labels),
        "groups": list(result.groups),
        "pairs": result.rows(),
        "numbers": dict(zip(result.labels, result.numbers)),
        "deltas": [
            {"name": one.label, "number": one.name, "delta": one.change, "unit": one.unit}
            for one in result.deltas
        ],
        "units": {name: index.unit for name, index in result.indices.items()},
    }


def _signed(one: Delta) -> str:
    sign = "+" if one.change >= 0 else ""
    return f"{sign}{number(one.change)}".replace("-", "−") if one.is_told else "undefined"


def _text(value: float) -> str:
    return "undefined" if math.isnan(value) else number(value).replace("-", "−")


def _indented(lines: Sequence[str]) -> Iterator[str]:
    return (f"  {line}" for line in lines)
