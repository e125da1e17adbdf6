"""`pe-inspect layernorm`: what the norms hold, and what they do to the position embedding."""

from __future__ import annotations

from pe_inspect.commands import QUESTIONS, command
from pe_inspect.commands._answer import Question, answer
from pe_inspect.commands._options import Asked


@command("layernorm", panel=QUESTIONS)
def layernorm(asked: Asked) -> None:
    """What each LayerNorm holds, and what it does to the position embedding."""
    from pe_inspect.analysis.layernorm import layernorm as ask

    question = Question(
        "layernorm",
        lambda pe: ask(pe, ln_eps=asked.reading.ln_eps),
        {".csv": lambda result, file: result.to_csv(file)},
    )
    answer(question, asked)
