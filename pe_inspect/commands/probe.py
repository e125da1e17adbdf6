"""`pe-inspect probe`: can position be read back out of each layer."""

from __future__ import annotations

from pe_inspect.commands.shell import QUESTIONS, command
from pe_inspect.commands.shell.live_options import Running
from pe_inspect.commands.shell.live_questions import live_question
from pe_inspect.commands.shell.options import AskedEach, LayerShown
from pe_inspect.commands.shell.question_runner import answer


@command("probe", panel=QUESTIONS, needs=("torch",))
def probe(shown: LayerShown, running: Running, asked: AskedEach) -> None:
    """Can position be read back out of each layer: held-out images and places, and controls."""
    question = live_question("probe", asked, running, figures=("", "_ramps"), layer=shown.where())
    answer(question, asked)
