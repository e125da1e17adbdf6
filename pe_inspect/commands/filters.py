"""`pe-inspect filters`: what the filters that make patches look for."""

from __future__ import annotations

from functools import partial

from pe_inspect.commands.shell import QUESTIONS, command
from pe_inspect.commands.shell.opening import open_subject
from pe_inspect.commands.shell.options import Asked
from pe_inspect.commands.shell.question_runner import Question, answer, summary_lines, write_table


@command("filters", panel=QUESTIONS)
def filters(asked: Asked) -> None:
    """Filters that make patches: principal components, and the table in their span."""
    from pe_inspect.front.filters import filters_of

    subject = open_subject(
        asked.source, asked.reading, asked.terminal, with_sha256=asked.terminal.json, may_lack=True
    )
    question = Question(
        "filters",
        partial(filters_of, tables=subject.tables),
        {".npz": lambda result, file: result.save_npz(file), ".csv": write_table},
        figures=("", "_spectrum"),
        lines=lambda result: [result.finding, *summary_lines(result)],
        is_of_checkpoint=True,
    )
    answer(question, asked, subject)
