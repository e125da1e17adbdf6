"""`pe-inspect doctor`: is a checkpoint healthy, and why does it not fit?"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from pe_inspect.commands.shell import LOOK, command
from pe_inspect.commands.shell.diagnosis_text import diagnosis_object, finding_lines, told_lines
from pe_inspect.commands.shell.doctor_options import Expectation
from pe_inspect.commands.shell.opening import (
    NamedCheckpoint,
    located_aloud,
    open_checkpoint,
    twice_if_changed,
)
from pe_inspect.commands.shell.options import Asked, Reading, Source, Terminal
from pe_inspect.commands.shell.question_runner import Question, answer
from pe_inspect.commands.shell.transfers import transfers
from pe_inspect.errors import HAS_FINDINGS

if TYPE_CHECKING:
    from pe_inspect.diagnosis.diagnosis import Diagnosis
    from pe_inspect.loading import Checkpoint


@command("doctor", panel=LOOK)
def doctor(source: Source, reading: Reading, terminal: Terminal, expected: Expectation) -> None:
    """Is it healthy, and why does it not fit? Exit code 0: healthy; 6: there are findings."""
    checkpoint, found = twice_if_changed(partial(_examined, source, reading, terminal, expected))
    question = Question(
        "doctor",
        lambda _: found,
        figures=(),
        lines=told_lines,
        quiet_lines=finding_lines,
        told=diagnosis_object,
        code=lambda diagnosis: HAS_FINDINGS if diagnosis.findings else 0,
        is_of_checkpoint=True,
        is_told=True,
    )
    opened = NamedCheckpoint(name="", checkpoint=checkpoint, tables=found.tables)
    answer(question, Asked.without_files(source, reading, terminal), opened)


def _examined(
    source: Source, reading: Reading, terminal: Terminal, expected: Expectation
) -> tuple[Checkpoint, Diagnosis]:
    from pe_inspect.diagnosis.doctor import doctor as ask

    def opened(given: str | None, reading: Reading) -> Checkpoint:
        located = located_aloud(given, source, terminal)
        return open_checkpoint(located, source, reading, progress)

    with transfers(quiet=terminal.quiet) as progress:
        checkpoint = opened(source.checkpoint, reading)
        other = opened(expected.against, Reading()) if expected.against else None
        return checkpoint, ask(checkpoint, against=other, **expected.arguments())
