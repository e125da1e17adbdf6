"""`pe-inspect similarity`: how alike are positions, in every layer."""

from __future__ import annotations

from typing import Final

from pe_inspect.commands.shell import QUESTIONS, command
from pe_inspect.commands.shell.options import AskedEach, Memory, Pictured, Selection
from pe_inspect.commands.shell.question_runner import Question, answer, write_table
from pe_inspect.errors import UsageError

_SEVERAL: Final = 2


@command("similarity", panel=QUESTIONS)
def similarity(selection: Selection, pictured: Pictured, room: Memory, asked: AskedEach) -> None:
    """How alike are positions, in every layer: maps on one printed scale."""
    from pe_inspect.analysis.similarity import similarity as ask

    tokens = selection.queries()
    question = Question(
        "similarity",
        lambda pe: ask(
            pe,
            layer=selection.where(),
            head=selection.head,
            token=tokens[0] if tokens else None,
            ln_eps=asked.reading.ln_eps,
            max_memory=room.max_memory,
        ),
        {".npz": lambda result, file: result.save_npz(file), ".csv": write_table},
        draw={
            "tokens": _drawn(tokens),
            "tiles": pictured.counts(),
            "of_layer": selection.layer is not None,
            "heads": pictured.heads,
        },
        figures=("", "_query", "_fig7"),
    )
    answer(question, asked)


def _drawn(tokens: list[tuple[int, ...]]) -> list[tuple[int, ...]]:
    """Return the patches whose maps are drawn below each other; one alone is the result's own.

    Raises:
        UsageError: several are of frames.
    """
    if len(tokens) < _SEVERAL:
        return []
    if any(len(token) > len(("row", "column")) for token in tokens):
        raise UsageError(
            "--token T,R,C was given several times; it is drawn for one patch. Several are named "
            "by row and column: column t·W + x is column x of frame t."
        )
    return tokens
