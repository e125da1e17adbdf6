"""Panels of lines: a page-wide figure that matplotlib lays out, light grids, and axes of layers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.ticker import Locator, MaxNLocator

from pe_inspect.arrays import Float
from pe_inspect.figures.layout.look import page_width
from pe_inspect.figures.layout.style import (
    DIGIT,
    INK,
    LABEL_SIZE,
    MUTED,
    TICK_SIZE,
    caption_height,
    framed,
    tidy,
)

__all__ = [
    "are_blocks", "from_zero", "in_rows", "key", "key_height", "layer_axis", "layer_room", "lined",
    "marker_size", "panel_figure", "panel_title", "reference",
]  # fmt: skip

PADS: Final = {"w_pad": 0.07, "h_pad": 0.04, "wspace": 0.03, "hspace": 0.03}
KEY_LINE: Final = 0.17  # inches
KEY_BORDER: Final = 0.1  # inches
KEY_HANDLE: Final = 0.45
LEAST_PANEL: Final = 1.6  # inches: a narrower panel has no room beside its ticks
MOST_IN_A_ROW: Final = 4
STEPS: Final = (1, 2, 5, 10, 20, 50, 100, 200, 500)
MOST_MARKERS: Final = 40
FAINT: Final = "#e4e4e8"
ROOM: Final = 1.18
LETTER: Final = 0.6  # em
BLOCK: Final = re.compile(r"blocks\.\d+")


def panel_figure(
    words: str, text: str, height: float, *, left: float = 0.0
) -> tuple[Figure, SubFigure]:
    """Return a page-wide figure with a title and a caption, and the part between for panels.

    `inside.subplots(rows, columns)` makes the panels; matplotlib's constrained layout gives them
    what their labels and keys leave.

    Args:
        words: the title.
        text: the caption.
        height: inches between the two.
        left: inches at the left that are kept for something else.

    Returns:
        The figure, and what lies inside of title and caption.
    """
    figure = framed(words, text, height)
    total, start = figure.get_figheight(), left / page_width()
    place = (start, caption_height(text, page_width()) / total, 1 - start, height / total)
    figure.set_layout_engine("constrained", rect=place, **PADS)
    return figure, figure.add_subfigure(figure.add_gridspec(1, 1)[0])


def in_rows(
    inside: SubFigure, count: int, *, most: int = MOST_IN_A_ROW, **options: Any
) -> list[Axes]:
    """Return panels side by side, or in rows where the page is too narrow: the figure grows.

    Args:
        inside: what `panel_figure` made, as high as one row.
        count: how many panels.
        most: in a row.
        options: of `subplots`.
    """
    figure: Any = inside.figure
    columns = max(min(count, most, int(page_width() / LEAST_PANEL)), 1)
    rows = -(-count // columns)
    if rows > 1:
        _grow(figure, rows)
    drawn = list(inside.subplots(rows, columns, squeeze=False, **options).flat)
    for axes in drawn[count:]:
        axes.remove()
    return drawn[:count]


def _grow(figure: Figure, rows: int) -> None:
    """Give the part between title and caption the height of so many rows."""
    engine: Any = figure.get_layout_engine()
    left, bottom, width, height = engine.get()["rect"]
    before = figure.get_figheight()
    after = before + (rows - 1) * height * before
    figure.set_figheight(after)
    place = (left, bottom * before / after, width, rows * height * before / after)
    engine.set(rect=place)
    for text in figure.texts:
        top = text.get_gid() == "title"
        y = text.get_position()[1] * before
        text.set_y((after - before + y if top else y) / after)


def panel_title(axes: Axes, text: str) -> None:
    """Write what a panel shows above it."""
    axes.set_title(text, size=LABEL_SIZE, color=INK, loc="left", pad=4)


def key(inside: SubFigure, *panels: Axes, beside: bool = False) -> None:
    """Name the lines of panels that share them, once: above all panels, or beside them."""
    found = [axes.get_legend_handles_labels() for axes in panels]
    lines = {name: line for handles, labels in found for line, name in zip(handles, labels)}
    inside.legend(
        list(lines.values()), list(lines), frameon=False, fontsize=TICK_SIZE,
        loc="outside right upper" if beside else "outside upper left",
        ncols=1 if beside else _key_columns(list(lines)), columnspacing=1.4, handlelength=2.4,
        labelspacing=0.35, borderpad=0.5, borderaxespad=0.2,
    )  # fmt: skip


def key_height(labels: Sequence[str]) -> float:
    """The inches that `key` takes for these names."""
    return KEY_LINE * -(-len(labels) // _key_columns(labels)) + KEY_BORDER


def _key_columns(labels: Sequence[str]) -> int:
    entry = max(map(len, labels)) * DIGIT * TICK_SIZE / 72 + KEY_HANDLE
    return min(max(int(page_width() / entry), 1), len(labels))


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


class LayerLocator(Locator):
    """Places of layers: all, or as many at even steps as have room for their labels.

    Args:
        axes: whose x axis it is.
        labels: one a layer.
        upright: whether they are written upwards.
    """

    def __init__(self, axes: Axes, labels: Sequence[str], *, upright: bool) -> None:
        self.axes, self.count = axes, len(labels)
        letters = 1 if upright else max(map(len, labels))
        self.room = (letters * LETTER + 1) * TICK_SIZE / 72

    def __call__(self) -> Sequence[float]:
        """Return the places that fit the axis as it is drawn."""
        width = self.axes.bbox.width / self.axes.figure.dpi
        fitting = (step for step in STEPS if self.count * self.room <= step * width)
        return range(0, self.count, next(fitting, STEPS[-1]))

    def tick_values(self, vmin: float, vmax: float) -> Sequence[float]:
        """Return the places that fit within limits."""
        return [place for place in self() if vmin <= place <= vmax]


def layer_axis(axes: Axes, names: Sequence[str]) -> None:
    """Put layers on the x axis: by block number where all are blocks, else by their names."""
    labels, upright = _short_names(names), not are_blocks(names)
    written: dict[float, str] = dict(enumerate(labels))
    axes.xaxis.set_major_locator(LayerLocator(axes, labels, upright=upright))
    axes.xaxis.set_major_formatter(lambda place, _: written.get(place, ""))
    axes.set_xlim(-0.5, len(names) - 0.5)
    if upright:
        axes.tick_params(axis="x", labelrotation=90)
    axes.set_xlabel("" if upright else "block", size=LABEL_SIZE, color=INK, labelpad=2)


def marker_size(count: int) -> float:
    """The size of markers on a line of `count` points; none where they would cover it."""
    return 3.0 if count <= MOST_MARKERS else 0.0


def layer_room(names: Sequence[str]) -> float:
    """The inches under the axes that `layer_axis` needs."""
    if are_blocks(names):
        return 0.42
    return 0.15 + max(map(len, _short_names(names))) * TICK_SIZE * LETTER / 72


def are_blocks(names: Sequence[str]) -> bool:
    """Whether all layers are plain blocks, `"blocks.3"`, which a number names as well."""
    return all(BLOCK.fullmatch(name) for name in names)


def _short_names(names: Sequence[str]) -> list[str]:
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
