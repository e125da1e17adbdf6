"""The rows of a result as a table for a file: CSV, Markdown, or LaTeX with booktabs.

CSV keeps every digit for programs. The other two are read by people: four digits, units in the
heads, and nothing where a number is undefined.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import IO, TYPE_CHECKING, Any, Final

from pe_inspect.cells import as_cell
from pe_inspect.commands.shell.describe import number, table

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["FORMATS", "layer_lines", "records", "write_csv", "write_markdown", "write_tex"]

_TEX: Final = str.maketrans({
    "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "\\": r"\textbackslash{}",
    "−": "$-$", "×": r"$\times$", "·": r"$\cdot$", "→": r"$\to$", "≥": r"$\geq$",
    "γ": r"$\gamma$", "β": r"$\beta$", "Δ": r"$\Delta$",
})  # fmt: skip


def records(result: Any) -> list[dict[str, Any]]:
    """Return the rows of a result's data frame, one dictionary each."""
    frame: DataFrame = result.to_frame()
    found: list[dict[str, Any]] = frame.astype(object).to_dict("records")
    return found


def layer_lines(result: Any, width: int) -> list[str]:
    """Return the numbers of every layer as lines of a terminal; none where they do not fit.

    Args:
        result: one whose `rows()` are those of layers.
        width: letters of a line, at most.
    """
    rows = result.rows() if callable(getattr(result, "rows", None)) else []
    if not rows or "layer" not in rows[0]:
        return []
    names = [name for name, value in rows[0].items() if name == "layer" or _is_number(value)]
    cells = [list(_cells([row[name] for name in names])) for row in rows]
    units: Mapping[str, str] = getattr(result, "units", {})
    lines = [f"  {line}" for line in table([[_head(name, units) for name in names], *cells])]
    return ["", *lines] if max(map(len, lines)) <= width else []


def write_csv(result: Any, file: IO[bytes]) -> None:
    """Write the result's data frame as CSV: UTF-8, one header line, no index, no formulas."""
    frame = result.to_frame().rename(columns=as_cell)
    for name in frame.select_dtypes(exclude="number"):
        frame[name] = frame[name].map(as_cell)
    file.write(frame.to_csv(index=False, lineterminator="\n").encode())


def write_markdown(result: Any, file: IO[bytes]) -> None:
    """Write the rows as a table of Markdown, numbers to the right."""
    heads, sides, rows = _laid_out(result)
    lines = [heads, ["--:" if right else ":--" for right in sides], *rows]
    cells = ([cell.replace("|", "\\|") for cell in line] for line in lines)
    file.write("".join(f"| {' | '.join(line)} |\n" for line in cells).encode())


def write_tex(result: Any, file: IO[bytes]) -> None:
    """Write the rows as a `tabular` of the package booktabs, numbers to the right."""
    heads, sides, rows = _laid_out(result)
    columns = "".join("r" if right else "l" for right in sides)
    lines = [
        rf"\begin{{tabular}}{{{columns}}}", r"\toprule", _tex_line(heads), r"\midrule",
        *map(_tex_line, rows), r"\bottomrule", r"\end{tabular}",
    ]  # fmt: skip
    file.write("".join(f"{line}\n" for line in lines).encode())


FORMATS: Final[Mapping[str, tuple[str, Callable[[Any, IO[bytes]], None]]]] = {
    "csv": (".csv", write_csv),
    "md": (".md", write_markdown),
    "tex": (".tex", write_tex),
}
"""--table-format → the ending of the file, and what writes it."""


def _tex_line(cells: Sequence[str]) -> str:
    return " & ".join(cell.translate(_TEX) for cell in cells) + r" \\"


def _laid_out(result: Any) -> tuple[list[str], list[bool], list[list[str]]]:
    """Return heads with units, which columns are numbers, and the cells."""
    is_worded = hasattr(result, "to_table")  # its heads are words already
    frame: DataFrame = result.to_table() if is_worded else result.to_frame()
    units: Mapping[str, str] = getattr(result, "units", {})
    names = list(map(str, frame.columns))
    heads = names if is_worded else [_head(name, units) for name in names]
    sides = [name in set(frame.select_dtypes(include="number")) for name in frame.columns]
    return heads, sides, [list(_cells(row)) for row in frame.itertuples(index=False)]


def _head(name: str, units: Mapping[str, str]) -> str:
    """Return `half radius (patches)`: what is said of a number holds of its parts, too."""
    stem = re.sub(r"_(first|second|delta)$", "", name)
    unit = units.get(name, units.get(stem, ""))
    words = name.replace("_", " ")
    return f"{words} ({unit})" if unit else words


def _cells(row: Sequence[Any]) -> Iterator[str]:
    for value in row:
        if value is None or (isinstance(value, float) and math.isnan(value)):
            yield ""
        else:
            yield number(value).replace("-", "−") if _is_number(value) else str(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
