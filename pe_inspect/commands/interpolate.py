"""`pe-inspect interpolate`: the embedding at another resolution."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import IO, TYPE_CHECKING, Annotated, Any, Final

import typer

from pe_inspect.commands import QUESTIONS, command
from pe_inspect.commands._answer import Question, answer, write_table
from pe_inspect.commands._describe import number, table
from pe_inspect.commands._options import Asked, Data, Query, Resize
from pe_inspect.commands._terminal import write_json, write_line
from pe_inspect.errors import UsageError

if TYPE_CHECKING:
    from pe_inspect.analysis.interpolate import InterpolationResult

_Method = Annotated[
    str,
    typer.Option(
        "--method",
        metavar="NAME",
        help="One, several with commas, or all; `list` prints what each does (default: native).",
        show_default=False,
        rich_help_panel="What to show",
    ),
]
_Matrix = Annotated[
    bool,
    typer.Option(
        "--matrix",
        metavar="",
        help="Write the matrices of rows and columns, W_h and W_w, of every separable method.",
        show_default=False,
        rich_help_panel="Files",
    ),
]
_COLUMNS: Final = (
    ("norm ratio", "norm_ratio"),
    ("structure", "structure_correlation"),
    ("round trip", "round_trip_error"),
    ("off native", "difference_to_native"),
)


@command("interpolate", panel=QUESTIONS)
def interpolate(
    resize: Resize, query: Query, asked: Asked, method: _Method = "native", matrix: _Matrix = False
) -> None:
    """The embedding at another resolution, and what resampling does to it."""
    if method == "list":
        _list_methods(as_json=asked.terminal.json)
        return
    if not resize.is_given:
        raise UsageError("To which size? Pass --res 384 (pixels) or --grid 24x24 (patches).")
    from pe_inspect.analysis.interpolate import interpolate as ask

    data = _data(save=asked.data.save_data, matrix=matrix)
    question = Question(
        "interpolate",
        lambda pe: ask(
            pe,
            **resize.arguments(),
            patch_size=asked.reading.patch(),
            method=method,
            token=query.query(),
        ),
        data,
        {"token": query.query()},
        lines=lambda result: list(_side_by_side(result)),
        more=_by_method,
    )
    answer(question, replace(asked, data=Data(save_data=bool(data))))


def _data(*, save: bool, matrix: bool) -> dict[str, Callable[[Any, IO[bytes]], Any]]:
    """Return the data files that were asked for: extension → writer."""
    files: dict[str, Callable[[Any, IO[bytes]], Any]] = {}
    if save:
        files = {".npz": lambda result, file: result.save_npz(file), ".csv": write_table}
    if matrix:
        files["_matrices.npz"] = lambda result, file: result.save_matrices(file)
    return files


def _side_by_side(result: InterpolationResult) -> Iterator[str]:
    """Yield the lines that compare methods, one a plain method, where there are several."""
    if len(result.methods) < 2:
        return
    rows = [["method", *(head for head, _ in _COLUMNS), "also"]]
    for plain in dict.fromkeys(result.rules.values()):
        names = [name for name in result.methods if result.rules[name] == plain]
        means = result.means(names[0])
        values = (means.get(measure, float("nan")) for _, measure in _COLUMNS)
        others = ", ".join(name for name in names if name != plain)
        rows.append([plain, *map(number, values), others])
    yield ""
    yield from (f"  {line}" for line in table(rows))


def _by_method(result: InterpolationResult) -> dict[str, Any]:
    methods = {name: {"rule": result.rules[name], **result.means(name)} for name in result.methods}
    return {"methods": methods}


def _list_methods(*, as_json: bool) -> None:
    from pe_inspect.analysis.interpolate import METHODS

    if as_json:
        write_json({"methods": [{"name": name, "does": text} for name, text in METHODS.items()]})
        return
    for name, text in METHODS.items():
        write_line(f"{name}\n    {text}")
