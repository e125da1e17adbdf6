"""Accuracies as lines of a terminal and as JSON."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from textwrap import wrap
from typing import TYPE_CHECKING, Any, Final

from pe_inspect.commands.shell.describe import table
from pe_inspect.commands.shell.question_runner import parameters_and_summary

if TYPE_CHECKING:
    from pe_inspect.analysis.evaluate import EvaluationResult, EvaluationRow

__all__ = ["accuracy_lines", "with_rows"]

_NARROWEST: Final = 40
_WIDEST: Final = 1000  # of what is no terminal
_INDENT: Final = "  "


def accuracy_lines(result: EvaluationResult) -> list[str]:
    """Return a row a condition, indented."""
    return [f"{_INDENT}{line}" for line in _lines(list(_cells(result)))]


def _lines(rows: list[list[str]]) -> list[str]:
    """Return a table; where the terminal is narrower, each row as a name and its numbers below."""
    width = max(_NARROWEST, shutil.get_terminal_size((_WIDEST, 24)).columns) - len(_INDENT)
    lines = table(rows)
    if max(map(len, lines)) <= width:
        return lines
    head, *others = rows
    return [line for row in others for line in _below(head, row, width)]


def _below(head: list[str], row: list[str], width: int) -> list[str]:
    """Return `plain · 8×8 · native` and the numbers with their names; an unnamed one goes on."""
    numbers = ""
    for name, value in zip(head[3:], row[3:]):
        if value:
            numbers += f" · {name} {value}" if name else f" {value}"
    numbers = numbers.removeprefix(" · ")
    below = wrap(numbers, width, initial_indent=_INDENT, subsequent_indent=_INDENT)
    return [" · ".join(row[:3]), *below]


def _cells(result: EvaluationResult) -> Iterator[list[str]]:
    has_five = result.plain.top5 == result.plain.top5  # not NaN
    yield [
        "condition",
        "pixels",
        "method",
        "top-1",
        "",
        *(["top-5"] * has_five),
        "loss",
        "FS",
        "difference",
    ]
    for row in result.rows:
        fragility = result.fragility(row)
        yield [
            row.name, f"{row.res[0]}×{row.res[1]}", row.method, f"{row.top1:.2%}",
            f"± {row.standard_error:.2%}", *([f"{row.top5:.2%}"] * has_five), f"{row.loss:.4f}",
            "" if fragility != fragility else f"{fragility:.3f}".replace("-", "−"),
            "" if row is result.plain else _signed(row),
        ]  # fmt: skip


def _signed(row: EvaluationRow) -> str:
    return f"{100 * row.difference:+.2f} ± {100 * row.difference_error:.2f}".replace("-", "−")


def with_rows(result: EvaluationResult) -> dict[str, Any]:
    """Return what the JSON object holds of a result."""
    return {
        "dataset": result.dataset,
        "num_classes": result.num_classes,
        **parameters_and_summary(result),
        "rows": list(result.records()),
    }
