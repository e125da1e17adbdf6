"""`pe-inspect attention`: which heads attend by position."""

from __future__ import annotations

from typing import Annotated

from pe_inspect.commands.shell import QUESTIONS, command
from pe_inspect.commands.shell.live_options import Running
from pe_inspect.commands.shell.live_questions import live_question
from pe_inspect.commands.shell.options import AskedEach, Selection
from pe_inspect.commands.shell.question_runner import answer
from pe_inspect.commands.shell.typed_option import option

NoRenorm = Annotated[
    bool,
    option(
        "--no-renorm",
        panel="What to show",
        help="Draw distances of attention as it is, in which prefix tokens count 0: ViT's Fig. 7.",
    ),
]


@command("attention", panel=QUESTIONS, needs=("torch",))
def attention(
    selection: Selection, running: Running, asked: AskedEach, no_renorm: NoRenorm = False
) -> None:
    """Which heads attend by position: offsets, distance, entropy, budget, parts of logits."""
    question = live_question(
        "attention", asked, running, figures=("", "_depth", "_budget", "_maps"),
        layer=selection.where(), head=selection.head, token=selection.query(),
        renormalised=not no_renorm,
    )  # fmt: skip
    answer(question, asked)
