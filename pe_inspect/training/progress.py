"""What a run tells those who wait for it: where it stands, and why it stopped."""

from __future__ import annotations

from dataclasses import dataclass

from pe_inspect.errors import UsageError

__all__ = ["Progress", "TrainingAbandoned", "TrainingDiverged", "TrainingInterrupted"]


class TrainingDiverged(UsageError):
    """The loss became NaN or infinite."""


class TrainingInterrupted(KeyboardInterrupt):
    """Ctrl-C or SIGTERM came; the step was finished, and what there is was saved."""


class TrainingAbandoned(KeyboardInterrupt):
    """Ctrl-C or SIGTERM came in the first epoch, and an earlier run's resume file was kept."""


@dataclass(frozen=True)
class Progress:
    """Where a run stands.

    Attributes:
        epoch: the current epoch, from 1.
        epochs: of the whole run.
        step: steps done in the whole run.
        steps: of the whole run.
        loss: the mean of the last steps' (smoothed) losses.
        images_per_second: over this call, evaluation included; 0 before the clock moved.
        seconds_left: expected from that.
        accuracy: on the test images after the last finished epoch, 0 to 1; `None` before.
    """

    epoch: int
    epochs: int
    step: int
    steps: int
    loss: float
    images_per_second: float
    seconds_left: float
    accuracy: float | None
