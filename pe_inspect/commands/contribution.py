"""`pe-inspect contribution`: how much of each layer is position."""

from __future__ import annotations

from pe_inspect.commands.shell import QUESTIONS, command
from pe_inspect.commands.shell.live_options import Running
from pe_inspect.commands.shell.live_questions import live_question
from pe_inspect.commands.shell.options import AskedEach, PlacesShown
from pe_inspect.commands.shell.question_runner import answer


@command("contribution", panel=QUESTIONS, needs=("torch",))
def contribution(places: PlacesShown, running: Running, asked: AskedEach) -> None:
    """How much of each layer is position: ω², position maps, λ, causal edits, token norms."""
    question = live_question(
        "contribution", asked, running,
        figures=("", "_maps", "_similarity", "_mixing", "_edits", "_norms"),
        layer=places.where(), token=places.query(),
    )  # fmt: skip
    answer(question, asked)
