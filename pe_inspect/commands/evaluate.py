"""`pe-inspect evaluate`: accuracy, at other resolutions and with positions changed."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from pe_inspect.commands.shell import QUESTIONS, command
from pe_inspect.commands.shell.evaluate_options import Measuring
from pe_inspect.commands.shell.evaluate_text import accuracy_lines, with_rows
from pe_inspect.commands.shell.options import Asked
from pe_inspect.commands.shell.progress_bar import progress_bar
from pe_inspect.commands.shell.question_runner import Question, answer, write_arrays, write_table

if TYPE_CHECKING:
    from pe_inspect.analysis.evaluate import EvaluationResult
    from pe_inspect.loading import Checkpoint


@command("evaluate", panel=QUESTIONS, needs=("torch",))
def evaluate(asked: Asked, measuring: Measuring) -> None:
    """How accurate it is, at other resolutions and with positions scaled, shuffled or removed."""
    question = Question(
        "evaluate",
        partial(_ask, quiet=asked.terminal.quiet, arguments=measuring.arguments()),
        {".npz": write_arrays, ".csv": write_table},
        figures=("", "_ablations"),
        lines=accuracy_lines,
        told=with_rows,
        is_of_checkpoint=True,
        is_told=True,
    )
    answer(question, asked)


def _ask(checkpoint: Checkpoint, *, quiet: bool, arguments: dict[str, Any]) -> EvaluationResult:
    from pe_inspect.evaluation import evaluate as ask

    with progress_bar("evaluate", quiet=quiet) as tell:
        return ask(checkpoint, **arguments, progress=lambda now: tell(now.what, now.share))
