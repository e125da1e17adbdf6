"""`pe-inspect evolution`: one training run over time."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any

import typer

from pe_inspect.checkpoint_files import checkpoint_name
from pe_inspect.commands.shell import QUESTIONS, command
from pe_inspect.commands.shell.opening import NamedCheckpoint
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
from pe_inspect.commands.shell.progress import counted
from pe_inspect.commands.shell.question_runner import Question, answer, write_table
from pe_inspect.commands.shell.terminal import complain

_Folder = Annotated[
    str,
    typer.Argument(
        metavar="DIR",
        help="The folder of a run, a folder of its checkpoints, or the name of a recipe.",
        show_default=False,
    ),
]


@command("evolution", panel=QUESTIONS)
def evolution(
    folder: _Folder,
    opening: Opening,
    selection: Selection,
    reading: Reading,
    drawing: Drawing,
    data: Data,
    output: Output,
    terminal: Terminal,
) -> None:
    """One training run over time: the embedding from snapshot to snapshot."""
    from pe_inspect.front.evolution import open_history, run_folder

    place = run_folder(folder)
    watch = partial(counted, what="snapshot", quiet=terminal.quiet)
    run = open_history(place, hints=reading.hints(), watch=watch, **opening.opening())
    for missing in () if terminal.quiet else run.left_out:
        complain(f"Note: {missing}")
    chosen: dict[str, Any] = {
        "layer": selection.where(),
        "head": selection.head,
        "token": selection.query(),
    }
    question = Question(
        "evolution",
        partial(run.evolution, ln_eps=reading.ln_eps, **chosen),
        {".npz": lambda result, file: result.save_npz(file), ".csv": write_table},
        figures=("", "_maps", "_structure"),
    )
    source = Source(**vars(opening), checkpoint=folder)
    last = NamedCheckpoint(name=checkpoint_name(place), **vars(run.last))
    answer(question, Asked(source, reading, drawing, data, output, terminal), last)
