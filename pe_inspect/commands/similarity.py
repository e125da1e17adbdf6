"""`pe-inspect similarity`: how alike are positions, in every layer."""

from __future__ import annotations

from pe_inspect.commands.shell import QUESTIONS, command
from pe_inspect.commands.shell.options import AskedEach, Memory, Pictured, Selection
from pe_inspect.commands.shell.question_runner import Question, answer, write_table


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
            "tokens": tokens,
            "tiles": pictured.counts(),
            "of_layer": selection.layer is not None,
            "heads": pictured.heads,
        },
        figures=("", "_query", "_fig7"),
    )
    answer(question, asked)
