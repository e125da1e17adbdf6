"""`pe-inspect spread`: the toy question."""

from __future__ import annotations

from pe_inspect.commands.shell import QUESTIONS, command
from pe_inspect.commands.shell.options import Asked
from pe_inspect.commands.shell.question_runner import Question, answer, write_table


@command("spread", panel=QUESTIONS)
def spread(asked: Asked) -> None:
    """How far apart the largest and the smallest number are."""
    from pe_inspect.analysis import questions

    answer(Question("spread", questions["spread"], {".csv": write_table}), asked)
