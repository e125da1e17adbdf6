"""How a run went, epoch by epoch: losses, accuracy and learning rate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import IO, Any, Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from pe_inspect.arrays import Float
from pe_inspect.figures import drawings
from pe_inspect.figures.layout.lines import in_rows, lined, marker_size, panel_figure
from pe_inspect.figures.layout.style import DPI, PALETTE, TICK_SIZE
from pe_inspect.figures.saving import save

__all__ = ["draw", "write_curves"]

Rows = Sequence[Mapping[str, Any]]

HEIGHT: Final = 2.1  # inches
CAPTION: Final = (
    "Training loss: the mean over an epoch's steps, augmented and smoothed as the recipe says. "
    "Test loss and accuracy: of the weights as saved, in float32, not smoothed. "
    "Learning rate: of the epoch's last step."
)


@drawings.register("training")
def draw(rows: Rows) -> dict[str, Figure]:
    """Draw the rows of a `metrics.csv`: file stem → figure.

    Args:
        rows: one mapping an epoch with `epoch`, `train_loss`, `test_loss`, `test_accuracy`
            (0 to 1) and `lr`, as numbers or as the texts of the file.
    """
    count = len(rows)
    words = f"Training over {count} epoch{'' if count == 1 else 's'}"
    figure, inside = panel_figure(words, CAPTION, HEIGHT)
    losses, accuracy, rate = in_rows(inside, 3)
    _lines(losses, rows, {"train_loss": "training", "test_loss": "test"}, "cross-entropy (nats)")
    losses.legend(frameon=False, fontsize=TICK_SIZE)
    _lines(accuracy, rows, {"test_accuracy": ""}, "test accuracy, top-1 (%)", scale=100)
    _mark_best(accuracy, rows)
    _lines(rate, rows, {"lr": ""}, "learning rate")
    return {"curves": figure}


def write_curves(rows: Rows, file: IO[bytes]) -> None:
    """Write the figure of a `metrics.csv` to an open file, as a PNG; `train` takes this function.

    Args:
        rows: as of `draw`.
        file: opened for writing bytes.
    """
    save(draw(rows)["curves"], file, format="png", dpi=DPI)


def _lines(
    axes: Axes, rows: Rows, columns: Mapping[str, str], label: str, *, scale: float = 1.0
) -> None:
    epochs = _metric(rows, "epoch")
    for (name, words), colour in zip(columns.items(), PALETTE):
        axes.plot(
            epochs,
            _metric(rows, name) * scale,
            color=colour,
            linewidth=1.2,
            marker="o",
            markersize=marker_size(len(epochs)) or (3.0 if len(epochs) == 1 else 0.0),
            label=words or None,
        )
    lined(axes, "epoch", label)
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.ticklabel_format(axis="y", scilimits=(-2, 4))


def _mark_best(axes: Axes, rows: Rows) -> None:
    accuracy = 100 * _metric(rows, "test_accuracy")
    best = int(np.nanargmax(accuracy)) if np.isfinite(accuracy).any() else None
    if best is None:
        return
    epoch, is_late = _metric(rows, "epoch")[best], 2 * best + 1 >= len(rows)
    axes.annotate(
        f"{accuracy[best]:.2f} % in epoch {epoch:.0f}",
        (epoch, accuracy[best]),
        xytext=(0.97 if is_late else 0.03, 0.05),
        textcoords="axes fraction",
        ha="right" if is_late else "left",
        size=TICK_SIZE,
        arrowprops={"arrowstyle": "-", "linewidth": 0.6},
    )


def _metric(rows: Rows, name: str) -> Float[np.ndarray, " epochs"]:
    return np.array([float(row[name]) for row in rows], np.float64)
