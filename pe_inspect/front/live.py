"""The forward-pass questions of a page: asked where the model can be rebuilt and is soon done."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from pe_inspect.analysis import questions
from pe_inspect.analysis.common.no_answer import NoAnswer
from pe_inspect.errors import PEInspectError, UsageError, reason
from pe_inspect.extras import needed
from pe_inspect.front import OpenedCheckpoint
from pe_inspect.loading.checkpoint import Checkpoint

if TYPE_CHECKING:
    from pe_inspect.kinds.position_embedding import PositionEmbedding
    from pe_inspect.traces import Trace

__all__ = ["LIVE_QUESTIONS", "LiveRun", "live_answers"]

LIVE_QUESTIONS: Final = ("attention", "contribution", "probe")
MOST_SECONDS: Final = 120.0
RUNS: Final = 12  # of the model, an image: as it is, eight edits, and the sums over them
SOON: Final = 2.0  # one blank image is a rough measure: it stops what would take so many times more


@dataclass
class LiveRun:
    """On what models of a page run, and how long they may.

    Attributes:
        is_asked: whatever it takes (`True`), not at all (`False`), or where all models of a page
            are done within two minutes (`None`).
        arguments: of `pe_inspect.trace`.
        progress: is told what runs, and the share that is done.
        spent: seconds that have been used.
    """

    is_asked: bool | None = None
    arguments: dict[str, Any] = field(default_factory=dict)
    progress: Callable[[str, float], object] | None = None
    spent: float = 0.0


class _TooLong(UsageError):
    """It would take longer than a page may; the message says how long."""


@dataclass
class _Clock:
    """Stops a run that nobody asked for when it is seen that it would take too long."""

    run: LiveRun
    source: str
    started: float = 0.0
    count: int = 0

    def begin(self, host: Any, stream: Any) -> None:
        """Look at how long one image takes; the first batch is not even tried if far too long."""
        self.count = len(stream)
        if self.run.is_asked is None:
            before = time.perf_counter()
            host.run(host.blank())
            expected = (time.perf_counter() - before) * RUNS * len(stream)
            self.check(expected, SOON * MOST_SECONDS)
        self.started = time.perf_counter()

    def tell(self, share: float) -> None:
        """Look at how long the first batches took, and say how far it is."""
        if self.run.is_asked is None:
            self.check((time.perf_counter() - self.started) / share, MOST_SECONDS)
        if self.run.progress is not None:
            self.run.progress(f"model of {self.source}", share)

    def check(self, expected: float, most: float) -> None:
        """Stop where it takes longer than it may.

        Raises:
            _TooLong: it does.
        """
        if expected > most - self.run.spent:
            raise _TooLong(
                f"it would take about {max(round(expected / 60), 1)} min on this machine "
                f"({self.count} images); --live asks all the same, --num-images 16 asks of fewer"
            )


def live_answers(
    found: OpenedCheckpoint, run: LiveRun, tell: Callable[[str], object]
) -> Iterator[Any]:
    """Yield what a checkpoint's live model answers, or why it does not.

    Args:
        found: the checkpoint.
        run: on what it runs.
        tell: is told where it would take too long; the page tells every reason.
    """
    if run.is_asked is False or not found.tables:
        return
    pe, before = found.tables[0], time.perf_counter()
    try:
        trace = _trace(found.checkpoint, run)
    except Exception as error:  # whatever a stranger's model does: the page is about its weights
        if run.is_asked:
            raise
        if isinstance(error, _TooLong):
            tell(f"{', '.join(LIVE_QUESTIONS)} are left out: {error}")
        yield from (NoAnswer(question, _why(error), pe) for question in LIVE_QUESTIONS)
        return
    finally:
        run.spent += time.perf_counter() - before
    for question in LIVE_QUESTIONS:
        yield _answer(question, trace, pe)


def _why(error: Exception) -> str:
    if isinstance(error, PEInspectError):
        return str(error)
    return f"its live model stopped with {type(error).__name__}: {reason(error)}"


def _trace(checkpoint: Checkpoint, run: LiveRun) -> Trace:
    clock, given = _Clock(run, checkpoint.source), dict(run.arguments)
    with needed("The live model"):
        from pe_inspect.live.trace import trace
        from pe_inspect.training.hardware import find_device

        device = find_device(given.pop("device", "auto"))
        return trace(checkpoint, begin=clock.begin, progress=clock.tell, device=device, **given)


def _answer(question: str, trace: Trace, pe: PositionEmbedding) -> Any:
    try:
        return replace(questions[question](trace), pe=pe)
    except UsageError as error:
        return NoAnswer(question, str(error), pe)
