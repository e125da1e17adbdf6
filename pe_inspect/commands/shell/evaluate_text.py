"""Accuracies as lines of a terminal and as JSON."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Iterator
from textwrap import wrap
from typing import TYPE_CHECKING, Any, Final

from pe_inspect.commands.shell.describe import table
from pe_inspect.commands.shell.question_runner import parameters_and_summary

if TYPE_CHECKING:
    from pe_inspect.analysis.evaluate import EvaluationResult, EvaluationRow, PairedCounts

__all__ = ["accuracy_lines", "with_rows"]

_NARROWEST: Final = 40
_WIDEST: Final = 1000  # of what is no terminal
_INDENT: Final = "  "


def accuracy_lines(result: EvaluationResult) -> list[str]:
    """Return on what was measured, a row a condition, and what the columns are; indented."""
    said = [*_setting(result), *_lines(list(_cells(result))), "", *_legend(result)]
    return [f"{_INDENT}{line}" if line else "" for line in said]


def _setting(result: EvaluationResult) -> list[str]:
    """Say on which images, and how they were normalised and cropped."""
    asked = result.parameters
    words = f"N = {result.plain.count:,} {result.images}"
    if "mean" in asked:
        mean, std = (", ".join(f"{each:g}" for each in asked[name]) for name in ("mean", "std"))
        words += f" · mean {mean} · std {std} ({asked['normalised_by']})"
        words += f" · crop {asked['crop_pct']:g}"
    return _wrapped(words)


def _legend(result: EvaluationResult) -> list[str]:
    """Say what the columns are: units, intervals, and what differences are from."""
    rows, (height, width) = result.rows, result.plain.res
    said = ["in brackets: 95 % intervals, Wilson's of top-1, Newcombe's for pairs of differences"]
    if len(rows) > 1:
        said.append(
            f"over plain: percentage points of top-1 over the plain model at {height}×{width}, on "
            "the same images"
        )
        said.append("fragility score: 1 − top-1 / top-1 of that model")
    if any(row.over_native for row in rows):
        said.append("over native: points over the model's own rule at the same size")
    return [line for words in said for line in _wrapped(words)]


def _wrapped(words: str) -> list[str]:
    return wrap(words, _width(), subsequent_indent=_INDENT, break_on_hyphens=False)


def _width() -> int:
    columns = shutil.get_terminal_size((_WIDEST, 24)).columns
    return max(_NARROWEST, columns) - len(_INDENT)


def _lines(rows: list[list[str]]) -> list[str]:
    """Return a table; where the terminal is narrower, each row as a name and its numbers below."""
    width = _width()
    lines = table(rows)
    if max(map(len, lines)) <= width:
        return lines
    head, *others = rows
    return [line for row in others for line in _below(head, row, width)]


def _below(head: list[str], row: list[str], width: int) -> list[str]:
    """Return `plain · 8×8 · native` and the numbers with their names."""
    numbers = " · ".join(f"{name} {value}" for name, value in zip(head[3:], row[3:]) if value)
    below = wrap(numbers, width, initial_indent=_INDENT, subsequent_indent=_INDENT)
    return [" · ".join(row[:3]), *below]


def _cells(result: EvaluationResult) -> Iterator[list[str]]:
    """Yield the rows of the table, its head first; columns that say nothing here are left out."""
    rows = [[head for head, _ in _COLUMNS]]
    rows += [[cell(row, result) for _, cell in _COLUMNS] for row in result.rows]
    told = [k for k, column in enumerate(zip(*rows[1:])) if any(column)]
    yield from ([row[k] for k in told] for row in rows)


def _top5(row: EvaluationRow, _: EvaluationResult) -> str:
    return "" if math.isnan(row.top5) else f"{100 * row.top5:.2f}"


def _fragility(row: EvaluationRow, result: EvaluationResult) -> str:
    if row is result.plain:
        return ""
    found = result.fragility(row)
    return "undefined" if math.isnan(found) else _true_minus(f"{found:.3f}")


def _top1(row: EvaluationRow, _: EvaluationResult) -> str:
    low, high = row.interval
    return f"{100 * row.top1:.2f} [{100 * low:.1f}, {100 * high:.1f}]"


def _over_plain(row: EvaluationRow, result: EvaluationResult) -> str:
    return "" if row is result.plain else _points(row.over_plain)


def _over_native(row: EvaluationRow, _: EvaluationResult) -> str:
    return "" if row.over_native is None else _points(row.over_native)


def _points(pairs: PairedCounts) -> str:
    low, high = pairs.interval
    text = f"{100 * pairs.difference:+.2f} [{100 * low:+.1f}, {100 * high:+.1f}]"
    return _true_minus(text)


def _true_minus(text: str) -> str:
    return text.replace("-", "−")


_COLUMNS: Final[tuple[tuple[str, Callable[[EvaluationRow, EvaluationResult], str]], ...]] = (
    ("condition", lambda row, _: row.name),
    ("pixels", lambda row, _: f"{row.res[0]}×{row.res[1]}"),
    ("method", lambda row, _: row.method),
    ("top-1 (%)", _top1),
    ("top-5 (%)", _top5),
    ("loss (nats)", lambda row, _: f"{row.loss:.4f}"),
    ("fragility score", _fragility),
    ("over plain (points)", _over_plain),
    ("over native (points)", _over_native),
)


def with_rows(result: EvaluationResult) -> dict[str, Any]:
    """Return what the JSON object holds of a result."""
    return {
        "dataset": result.dataset,
        "num_classes": result.num_classes,
        **parameters_and_summary(result),
        "rows": list(result.records()),
    }
