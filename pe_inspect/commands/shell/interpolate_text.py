"""A resampled embedding as lines of a terminal: methods side by side, and what each does."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from textwrap import wrap
from typing import TYPE_CHECKING, Any, Final

from pe_inspect.commands.shell.describe import number, table
from pe_inspect.commands.shell.question_runner import parameters_and_summary
from pe_inspect.commands.shell.terminal import write_json, write_lines

if TYPE_CHECKING:
    from pe_inspect.analysis.interpolate import InterpolationResult

__all__ = ["by_method", "side_by_side", "tell_methods"]

_INDENT: Final = "  "
_NARROWEST: Final = 40
_WIDEST: Final = 1000  # of what is no terminal
_COLUMNS: Final = (
    ("norm ratio", "norm_ratio"),
    ("structure", "structure_correlation"),
    ("round trip", "round_trip_error"),
    ("off native", "difference_to_native"),
)


def side_by_side(result: InterpolationResult) -> Iterator[str]:
    """Yield the lines that compare methods, one a plain method, where there are several."""
    if len(result.methods) < 2:
        return
    rows = [["method", *(head for head, _ in _COLUMNS), "also"], *_compared(result)]
    width = shutil.get_terminal_size((_WIDEST, 24)).columns - len(_INDENT)
    lines = table(rows)
    if max(map(len, lines)) > width:
        lines = list(_below_each_other(rows, width))
    yield ""
    yield from (f"{_INDENT}{line}" for line in lines)


def _compared(result: InterpolationResult) -> Iterator[list[str]]:
    """Yield a row a plain method: its measures, and the other names that it has here."""
    for plain in dict.fromkeys(result.rules.values()):
        names = [name for name in result.methods if result.rules[name] == plain]
        means = result.means(names[0])
        values = (means.get(measure, float("nan")) for _, measure in _COLUMNS)
        others = ", ".join(name for name in names if name != plain)
        yield [plain, *map(number, values), others]


def _below_each_other(rows: list[list[str]], width: int) -> Iterator[str]:
    """Yield each method's names on lines of their own, and its numbers below them."""
    numbers = table([["", *row[1:-1]] for row in rows])
    for (name, *_, others), line in zip(rows, numbers):
        names = f"{name} ({others})" if others else name
        yield from wrap(names, width, subsequent_indent=2 * _INDENT, break_on_hyphens=False)
        yield line


def by_method(result: InterpolationResult) -> dict[str, Any]:
    """Return what the JSON object holds of a result: the means of every method too."""
    methods = {name: {"rule": result.rules[name], **result.means(name)} for name in result.methods}
    return {**parameters_and_summary(result), "methods": methods}


def method_lines() -> Iterator[str]:
    """Yield every method and what it does, in lines that fit the terminal."""
    from pe_inspect.analysis.interpolate import METHODS

    width = max(_NARROWEST, shutil.get_terminal_size((_WIDEST, 24)).columns)
    for name, text in METHODS.items():
        yield name
        for line in wrap(text, width - 4, break_long_words=False, break_on_hyphens=False):
            yield f"{2 * _INDENT}{line}"


def tell_methods(*, as_json: bool) -> None:
    """Print every method and what it does."""
    from pe_inspect.analysis.interpolate import METHODS

    if as_json:
        write_json({"methods": [{"name": name, "does": text} for name, text in METHODS.items()]})
        return
    write_lines(method_lines())
