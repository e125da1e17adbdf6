"""Axes for lines over layers: a light grid, and ticks that stay legible for 2 layers or 200."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from pe_inspect.arrays import Float
from pe_inspect.figures.layout.style import INK, LABEL_SIZE, MUTED, TICK_SIZE, tidy

__all__ = [
    "are_blocks", "from_zero", "layer_axis", "layer_room", "lined", "marker_size", "reference",
]  # fmt: skip

STEPS: Final = (1, 2, 5, 10, 20, 50, 100, 200, 500)
MOST_MARKERS: Final = 40
FAINT: Final = "#e4e4e8"
ROOM: Final = 1.18
LETTER: Final = 0.6  # em
BLOCK: Final = re.compile(r"blocks\.\d+")


def lined(axes: Axes, x: str, y: str) -> None:
    """Give axes a light grid, two spines, and their labels."""
    tidy(axes)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color=FAINT, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.yaxis.get_offset_text().set_fontsize(TICK_SIZE)
    axes.set_xlabel(x, size=LABEL_SIZE, color=INK, labelpad=2)
    axes.set_ylabel(y, size=LABEL_SIZE, color=INK, labelpad=2)


def layer_axis(axes: Axes, names: Sequence[str]) -> None:
    """Put layers on the x axis: by block number where all are blocks, else by their names."""
    labels, upright = _labels(names), not are_blocks(names)
    shown = range(0, len(names), _step(axes, labels, upright=upright))
    axes.set_xticks(list(shown), [labels[k] for k in shown])
    axes.set_xlim(-0.5, len(names) - 0.5)
    if upright:
        axes.tick_params(axis="x", labelrotation=90)
    else:
        axes.set_xlabel("block", size=LABEL_SIZE, color=INK, labelpad=2)


def _step(axes: Axes, labels: Sequence[str], *, upright: bool) -> int:
    """The least round number of layers from tick to tick at which labels do not touch."""
    figure = axes.get_figure(root=True)
    width = axes.get_position().width * (figure.get_size_inches()[0] if figure else 1)
    letters = 1 if upright else max(map(len, labels))
    room = (letters * LETTER + 1) * TICK_SIZE / 72
    return next(step for step in STEPS if len(labels) * room <= step * width or step == STEPS[-1])


def marker_size(count: int) -> float:
    """The size of markers on a line of `count` points; none where they would cover it."""
    return 3.0 if count <= MOST_MARKERS else 0.0


def layer_room(names: Sequence[str]) -> float:
    """The inches under the axes that `layer_axis` needs."""
    if are_blocks(names):
        return 0.42
    return 0.15 + max(map(len, _labels(names))) * TICK_SIZE * LETTER / 72


def are_blocks(names: Sequence[str]) -> bool:
    """Whether all layers are plain blocks, `"blocks.3"`, which a number names as well."""
    return all(BLOCK.fullmatch(name) for name in names)


def _labels(names: Sequence[str]) -> list[str]:
    """Block numbers where all layers are blocks; otherwise names, `"model"` for the empty one."""
    if are_blocks(names):
        return [name.rpartition(".")[2] for name in names]
    return [name or "model" for name in names]


def reference(axes: Axes, value: float, *, upright: bool = False, label: str | None = None) -> None:
    """Draw a dashed line at a value to compare with."""
    draw = axes.axvline if upright else axes.axhline
    draw(value, color=MUTED, linewidth=0.8, linestyle=(0, (4, 2)), zorder=1, label=label)


def from_zero(axes: Axes, *series: Float[np.ndarray, "..."]) -> None:
    """Let the y axis run from 0 to a little above the greatest value."""
    finite = [values[np.isfinite(values)] for values in series]
    highest = max((float(values.max()) for values in finite if values.size), default=0.0)
    axes.set_ylim(0, ROOM * highest if highest > 0 else 1.0)
