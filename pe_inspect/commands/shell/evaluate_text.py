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

__all__ = ["accuracy_lines", "fitted_table", "with_rows"]

_NARROWEST: Final = 40
_WIDEST: Final = 1000  # of what is no terminal
_INDENT: Final = "  "
_NAMES: Final = 3  # columns that say which row it is


def accuracy_lines(result: EvaluationResult) -> list[str]:
    """Return on what was measured, a row a condition, and what the columns are; indented."""
    said = [*_setting(result), *fitted_table(list(_cells(result))), "", *_legend(result)]
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


def fitted_table(rows: list[list[str]]) -> list[str]:
    """Return a table; where the terminal is narrower, several with the same names before each.

    Where not even one column stands beside the names, numbers are below them.
    """
    width = _width()
    parts = list(_parts(rows, width))
    if all(len(line) <= width for part in parts for line in part):
        return [line for part in parts for line in ("", *part)][1:]
    head, *others = rows
    return [line for row in others for line in _below(head, row, width)]


def _parts(rows: list[list[str]], width: int) -> Iterator[list[str]]:
    """Yield tables of as many columns as fit, of one at least; rows without a value stay out."""
    names, left = [row[:_NAMES] for row in rows], list(range(_NAMES, len(rows[0])))
    while left:
        fits = [n for n in range(1, len(left) + 1) if _is_within(rows, left[:n], width)]
        taken = left[: max(fits, default=1)]
        left = left[len(taken) :]
        cells = [[*name, *(row[k] for k in taken)] for name, row in zip(names, rows)]
        yield table([row for row in cells if any(row[_NAMES:])])


def _is_within(rows: list[list[str]], columns: list[int], width: int) -> bool:
    chosen = [[*row[:_NAMES], *(row[k] for k in columns)] for row in rows]
    return max(map(len, table(chosen))) <= width


def _below(head: list[str], row: list[str], width: int) -> list[str]:
    """Return `plain · 8×8 · native` and the numbers with their names."""
    told = zip(head[_NAMES:], row[_NAMES:])
    numbers = " · ".join(f"{name} {value}" for name, value in told if value)
    below = wrap(numbers, width, initial_indent=_INDENT, subsequent_indent=_INDENT)
    return [" · ".join(row[:_NAMES]), *below]


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
