"""`pe-inspect interpolate`: the embedding at another resolution."""

from __future__ import annotations

from typing import Annotated

import typer

from pe_inspect.commands import QUESTIONS, command
from pe_inspect.commands._answer import Question, answer, write_table
from pe_inspect.commands._options import Asked, Query, Resize
from pe_inspect.commands._terminal import write_json, write_line
from pe_inspect.errors import UsageError

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


@command("interpolate", panel=QUESTIONS)
def interpolate(resize: Resize, query: Query, asked: Asked, method: _Method = "native") -> None:
    """The embedding at another resolution, and what resampling does to it."""
    if method == "list":
        _list_methods(as_json=asked.terminal.json)
        return
    if not resize.is_given:
        raise UsageError("To which size? Pass --res 384 (pixels) or --grid 24x24 (patches).")
    from pe_inspect.analysis.interpolate import interpolate as ask

    question = Question(
        "interpolate",
        lambda pe: ask(pe, **resize.arguments(), patch_size=asked.reading.patch(), method=method),
        {".npz": lambda result, file: result.save_npz(file), ".csv": write_table},
        {"token": query.query()},
    )
    answer(question, asked)


def _list_methods(*, as_json: bool) -> None:
    from pe_inspect.analysis.interpolate import METHODS

    if as_json:
        write_json({"methods": [{"name": name, "does": text} for name, text in METHODS.items()]})
        return
    for name, text in METHODS.items():
        write_line(f"{name}\n    {text}")
