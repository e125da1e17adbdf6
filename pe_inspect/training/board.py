"""The numbers of a run for TensorBoard, where it is installed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from pe_inspect.extras import needed

__all__ = ["Board"]

FOLDER: Final = "tensorboard"
OF_AN_EPOCH: Final = ("train_loss", "test_loss", "test_accuracy")


class Board:
    """Writes TensorBoard's event files into a run's folder.

    Args:
        folder: the run's.
        step: where the run begins; what an earlier one wrote from there on is purged.

    Raises:
        UsageError: TensorBoard is not installed.
    """

    def __init__(self, folder: Path, step: int) -> None:
        with needed("--tensorboard", otherwise=", or leave the option out"):
            from torch.utils.tensorboard import SummaryWriter
        self._writer = SummaryWriter(str(folder / FOLDER), purge_step=step)

    def steps(self, step: int, loss: float, lr: float, images_per_second: float) -> None:
        """Enter the mean loss of the last steps, and what goes with it."""
        values = {"step/loss": loss, "step/lr": lr, "step/images_per_second": images_per_second}
        self._enter(values, step)

    def epoch(self, row: Mapping[str, Any]) -> None:
        """Enter a row of `metrics.csv`, at its step."""
        values = {f"epoch/{name}": float(row[name]) for name in OF_AN_EPOCH}
        self._enter(values, int(row["step"]))
        self._writer.flush()

    def close(self) -> None:
        """Write what is left."""
        self._writer.close()

    def _enter(self, values: Mapping[str, float], step: int) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)
