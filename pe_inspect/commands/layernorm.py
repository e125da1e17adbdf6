"""`pe-inspect layernorm`: what the norms hold, and what they do to the position embedding."""

from __future__ import annotations

from typing import IO, TYPE_CHECKING

from pe_inspect.commands.shell import QUESTIONS, command
from pe_inspect.commands.shell.options import Asked
from pe_inspect.commands.shell.question_runner import Question, answer, write_arrays

if TYPE_CHECKING:
    from pe_inspect.analysis.layernorm import LayerNormResult


@command("layernorm", panel=QUESTIONS)
def layernorm(asked: Asked) -> None:
    """What each LayerNorm holds, and what it does to the position embedding."""
    from pe_inspect.analysis.layernorm import layernorm as ask

    question = Question(
        "layernorm",
        lambda pe: ask(pe, ln_eps=asked.reading.ln_eps),
        {".npz": _write_arrays, ".csv": lambda result, file: result.to_csv(file)},
        figures=("", "_channels", "_cosine", "_position", "_decomposition"),
    )
    answer(question, asked)


def _write_arrays(result: LayerNormResult, file: IO[bytes]) -> None:
    """Write the columns of the table, γ by layer and channel, and the decomposition's columns."""
    weights = {f"weights/{name}": result.weights(name) for name in result.names}
    parts = result.decomposition_frame() if result.decompositions else {}
    columns = {f"decomposition/{name}": column.tolist() for name, column in parts.items()}
    write_arrays(result, file, **weights, **columns)
