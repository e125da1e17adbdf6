"""`pe-inspect compare`: several checkpoints side by side."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Annotated, Any

import typer

from pe_inspect.commands.shell import QUESTIONS, command
from pe_inspect.commands.shell.compare_text import compare_lines, told
from pe_inspect.commands.shell.opening import open_subject
from pe_inspect.commands.shell.options import (
    Asked,
    Data,
    Drawing,
    Opening,
    Output,
    Reading,
    Selection,
    Source,
    Terminal,
)
from pe_inspect.commands.shell.question_runner import (
    CommandRun,
    Question,
    carry_out,
    output_folder,
    write_table,
)
from pe_inspect.commands.shell.report_text import target_of
from pe_inspect.errors import UsageError

_Checkpoints = Annotated[
    list[str],
    typer.Argument(
        metavar="CHECKPOINT",
        help="Two or more; the first is what the others are measured against.",
        show_default=False,
    ),
]


@command("compare", panel=QUESTIONS)
def compare(
    checkpoints: _Checkpoints,
    opening: Opening,
    selection: Selection,
    reading: Reading,
    drawing: Drawing,
    data: Data,
    output: Output,
    terminal: Terminal,
) -> None:
    """Several checkpoints side by side: how alike they are, and what each has more."""
    from pe_inspect.front.compare import compare as ask

    if len(checkpoints) < 2:
        raise UsageError(
            "compare takes two checkpoints or more: pe-inspect compare A B. One alone is what "
            f"similarity and structure are about: pe-inspect similarity {checkpoints[0]}"
        )
    sources = [Source(**vars(opening), checkpoint=name) for name in checkpoints]
    subjects = [open_subject(one, reading, terminal, with_sha256=terminal.json) for one in sources]
    question = Question(
        "compare",
        partial(
            ask,
            layer=selection.where(),
            head=selection.head,
            token=selection.query(),
            ln_eps=reading.ln_eps,
        ),
        {".npz": lambda result, file: result.save_npz(file), ".csv": write_table},
        figures=("", "_numbers"),
        lines=compare_lines,
        told=told,
    )
    asked = Asked(sources[0], reading, drawing, data, output, terminal)
    folder = output_folder(output, "-and-".join(each.name for each in subjects[:3]))
    carry_out(CommandRun(question, asked, folder, (target_of(subjects),), _object))


def _object(entries: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return {"question": "compare", **entries[0]}
