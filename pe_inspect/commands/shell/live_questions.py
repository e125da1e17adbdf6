"""What the commands about a live model share: one run over images, and its answer."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from textwrap import wrap
from typing import IO, TYPE_CHECKING, Any, Final

from pe_inspect.analysis.common.places import chosen_head, chosen_places, chosen_states
from pe_inspect.commands.shell.live_options import Running
from pe_inspect.commands.shell.options import Asked
from pe_inspect.commands.shell.progress_bar import progress_bar
from pe_inspect.commands.shell.question_runner import (
    Question,
    parameters_and_summary,
    summary_lines,
    write_table,
)
from pe_inspect.errors import UsageError

if TYPE_CHECKING:
    from pe_inspect.analysis.common.trace_result import TraceResult
    from pe_inspect.live.host import Host
    from pe_inspect.loading import Checkpoint

__all__ = ["live_question", "run_model"]

_WIDTH: Final = 98
_HEADS: Final = ("num_heads", "num_attention_heads")  # attributes of libraries' attention modules
_STILL: Final = (
    "`pe-inspect similarity`, `layernorm` and `interpolate` ask the weights alone, and run without "
    "a live model."
)


def live_question(
    name: str, asked: Asked, running: Running, *, figures: tuple[str, ...], **draw: Any
) -> Question:
    """Return a question that is asked of a checkpoint's live model.

    Args:
        name: its word.
        asked: what was typed.
        running: on which images it runs.
        figures: how the names of its figures go on after the word.
        draw: options of its figures.
    """
    ask = partial(_ask, name, running=running, draw=draw, quiet=asked.terminal.quiet)
    return Question(
        name, ask, {".npz": _write_arrays, ".csv": write_table}, draw=draw, figures=figures,
        lines=_lines, quiet_lines=_finding_lines, told=_told, is_of_checkpoint=True, is_told=True,
    )  # fmt: skip


def _ask(
    name: str, checkpoint: Checkpoint, *, running: Running, draw: dict[str, Any], quiet: bool
) -> Any:
    from pe_inspect.analysis import questions

    arguments = {**running.arguments(), "token": draw.get("token")}
    with progress_bar(name, quiet=quiet) as tell:
        trace = run_model(
            checkpoint, [name], **arguments,
            progress=lambda share: tell("images run", share),
            begin=lambda host, _: _check(name, host, draw),
        )  # fmt: skip
    return questions[name](trace)


def run_model(checkpoint: Checkpoint, asked: list[str], *, device: str, **arguments: Any) -> Any:
    """Return the trace of a checkpoint's live model.

    Args:
        checkpoint: the file.
        asked: the questions that the run is for.
        device: as it is typed.
        arguments: of `pe_inspect.trace`.

    Raises:
        UsageError: the model cannot be rebuilt, or its positions cannot be followed; the message
            says which questions still run.
    """
    from pe_inspect.live.change import NotApplicable
    from pe_inspect.live.trace import trace
    from pe_inspect.live.weights import CannotRebuild
    from pe_inspect.training.hardware import find_device

    try:
        return trace(checkpoint, questions=asked, device=find_device(device), **arguments)
    except (CannotRebuild, NotApplicable) as error:
        raise UsageError(f"{error}\n{_STILL}") from error


def _check(name: str, host: Host, draw: dict[str, Any]) -> None:
    """Stop before the run where there is no such layer or head to draw."""
    parts = host.anatomy.blocks
    places = chosen_places if name == "attention" else chosen_states
    places(tuple(part.name for part in parts), draw.get("layer"))
    attention = (vars(part.attention) for part in parts)
    heads = [held[said] for held in attention for said in _HEADS if said in held]
    if heads:  # where no module says, the figures do, after the run
        chosen_head(draw.get("head"), heads)


def _write_arrays(result: TraceResult, file: IO[bytes]) -> None:
    import numpy as np

    np.savez(file, **result.arrays())


def _told(result: Any) -> dict[str, Any]:
    return {**parameters_and_summary(result), "finding": result.finding, "rows": result.rows()}


def _lines(result: Any) -> Iterator[str]:
    for line in result.setting:
        yield from _wrapped(line)
    yield from _finding_lines(result)
    yield from summary_lines(result)


def _finding_lines(result: Any) -> list[str]:
    return _wrapped(result.finding)


def _wrapped(words: str) -> list[str]:
    return wrap(words, _WIDTH, initial_indent="  ", subsequent_indent="    ",
                break_on_hyphens=False, break_long_words=False)  # fmt: skip
