"""A page of small maps: one image, one scale, a name above each map.

Everything is placed in whole pixels of the shared resolution, so that a patch is as many pixels
wide in one map as in the next, and no resampling blurs what was computed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.text import Text

from pe_inspect.figures.layout.look import has_title, is_paper, page_width
from pe_inspect.figures.layout.style import (
    DPI,
    INK,
    LABEL_SIZE,
    NO_WORDS,
    TITLE_SIZE,
    Mosaic,
    axes_at,
    caption,
    caption_height,
    colorbar,
    colorbar_width,
    diverging,
    headline,
    mark_missing,
    mosaic,
    new_figure,
    tidy,
    title,
)

__all__ = [
    "LARGEST",
    "Page",
    "Plan",
    "Words",
    "draw_image",
    "draw_page",
    "draw_single",
    "fitted",
    "outline",
    "plan",
    "tile_middles",
    "tile_ticks",
]

LEFT: Final = 0.64  # inches: the label and ticks of the y axis
USUAL_TICK: Final = 0.30  # inches: the widest tick label that RIGHT leaves room for
RIGHT: Final = 0.94  # the colour scale, its ticks and its label
BELOW: Final = 0.40  # the label and ticks of the x axis
BAR_WIDTH: Final = 0.14
BAR_GAP: Final = 0.16
TALLEST_BAR: Final = 3.0
KEY: Final = 0.3  # the key of what is missing, under the scale
LEAST_WIDTH: Final = 0.8  # the labels of the axes need as much, however small the map
LEAST_HEIGHT: Final = 0.9
NARROWEST_FIGURE: Final = 4.2  # below it, titles and captions would be a column of words
HEIGHT: Final = int(5.6 * DPI)  # the same, of a figure that leaves room on its page
TALLEST: Final = int(7.8 * DPI)  # the same, of a figure that fills it
LARGEST: Final = int(4.3 * DPI)  # pixels of the longer side of a single map
SINGLE: Final = int(3.0 * DPI)  # the same, in a file of its own
WIDEST_PATCH: Final = 28  # pixels; the gaps between maps are whole patches, and should stay narrow
SMALLEST: Final = 12  # pixels of the shorter side of a map
NAME_SIZE: Final = 7.5
SMALLEST_NAME: Final = 4.5
TICK_ROOM: Final = 36  # pixels between the first and the last index, both written
NARROW: Final = 8  # pixels between maps that need no more


@dataclass(frozen=True)
class Plan:
    """Where maps go.

    Attributes:
        columns: maps in a row.
        side: (rows, columns) of one map.
        scale: pixels of the page for one row and one column of a map.
        gap: rows and columns, of the maps' own, between maps.
    """

    columns: int
    side: tuple[int, int]
    scale: tuple[float, float]
    gap: tuple[int, int]

    @property
    def cell_pixels(self) -> tuple[float, float]:
        """(height, width) of one map on the page."""
        return self.side[0] * self.scale[0], self.side[1] * self.scale[1]

    def pixels(self, count: int) -> tuple[float, float]:
        """(height, width) of that many maps on the page, the names above them included."""
        height, width = self.cell_pixels
        rows = -(-count // self.columns)
        step = height + self.gap[0] * self.scale[0], width + self.gap[1] * self.scale[1]
        return rows * step[0], self.columns * step[1] - self.gap[1] * self.scale[1]


@dataclass(frozen=True)
class Words:
    """What is written around the maps."""

    title: str
    caption: str
    x: str
    y: str
    scale: str


def plan(
    count: int,
    side_for: Callable[[int], tuple[int, int]],
    *,
    largest: int = LARGEST,
    columns: int | None = None,
) -> Plan:
    """Choose how many maps go in a row, unless that is said.

    The less a map is thinned the better; then a figure that leaves room on its page; then large
    maps, and few empty places in the last row.

    Args:
        count: the number of maps.
        side_for: the (rows, columns) of a map that has at most that many pixels to a side.
        largest: pixels of the page for the longer side of a map.
        columns: how many go in a row, where rows mean something.
    """
    if columns is not None:
        return _plan(columns, side_for, largest)
    plans = [_plan(columns, side_for, largest) for columns in range(1, count + 1)]
    fitting = [one for one in plans if one.pixels(count)[1] <= _width()] or plans[:1]
    return min(fitting, key=lambda one: _rank(one, count))


def _rank(planned: Plan, count: int) -> tuple[float, ...]:
    height = planned.pixels(count)[0]
    places = planned.columns * -(-count // planned.columns)
    too_tall = max(height - TALLEST, 0.0)
    size = planned.cell_pixels[1] * (count / places) ** 2
    return too_tall, -float(planned.side[0]), float(height > HEIGHT), -size, height


def _plan(columns: int, side_for: Callable[[int], tuple[int, int]], largest: int) -> Plan:
    available = (_width() - (columns - 1) * NARROW) // columns
    side = side_for(max(min(available, largest), 1))
    one = _pixels_a_patch(side, columns, largest)
    tall, wide = (one if one * n >= SMALLEST else float(-(-SMALLEST // n)) for n in side)
    gap = (math.ceil(_name_pixels() / tall), math.ceil(NARROW / wide))
    return Plan(columns, side, (tall, wide), gap)


def _pixels_a_patch(side: tuple[int, int], columns: int, largest: int) -> float:
    """Whole pixels for a patch, as many as fit; a fraction where not even one does."""
    width = _width()
    if is_paper():
        return _exact_pixels(side, columns, largest)
    one = min(width // (columns * side[1]), largest // max(side), WIDEST_PATCH)
    while one > 1 and one * (columns * side[1] + (columns - 1) * math.ceil(NARROW / one)) > width:
        one -= 1
    return float(one) if one else min(width / columns / side[1], largest / max(side))


def _exact_pixels(side: tuple[int, int], columns: int, largest: int) -> float:
    """The largest patch that fits: print has no pixels to be whole in."""
    one = min(_width() / (columns * side[1]), largest / max(side), float(WIDEST_PATCH))
    while one * (columns * side[1] + (columns - 1) * math.ceil(NARROW / one)) > _width() + 1:
        one *= 0.99
    return one


def _width() -> int:
    """Pixels for maps."""
    return int((page_width() - LEFT - RIGHT) * DPI)


def _name_pixels() -> int:
    return round(NAME_SIZE * 1.75 / 72 * DPI)


@dataclass(frozen=True, eq=False)
class Page:
    """A drawn page, for what is added to it or redrawn on it."""

    figure: Figure
    axes: Axes
    image: AxesImage
    layout: Mosaic
    title: Text

    def redraw(self, values: np.ndarray, text: str) -> Figure:
        """Show another map of the same shape under another title."""
        self.image.set_data(values)
        self.title.set_text(headline(text, self.figure.get_size_inches()[0]))
        return self.figure


def draw_page(
    maps: Sequence[np.ndarray],
    names: Sequence[str],
    planned: Plan,
    limit: float,
    words: Words,
    extent: tuple[int, int] | None,
) -> Page:
    """Draw maps, each under its name, on the scale [−limit, limit].

    Args:
        maps: the maps, in order.
        names: theirs.
        planned: where they go.
        limit: the scale is [−limit, limit].
        words: what is written around them.
        extent: how many (rows, columns) of the model a map shows, for the ticks; `None` where
            maps differ in that, and have no ticks.
    """
    layout = mosaic(maps, planned.columns, gap=planned.gap, filling=2 * limit)
    page = draw_image(layout, planned, limit, words, above=_name_pixels() / DPI)
    _write_names(page.axes, names, planned, layout)
    if extent is not None:
        _corner_ticks(page.axes, planned, layout, extent)
    return page


def draw_single(values: np.ndarray, limit: float, words: Words, extent: tuple[int, int]) -> Page:
    """Draw one map by itself, its ticks counting the (rows, columns) of `extent`."""
    shape = (values.shape[0], values.shape[1])
    planned = plan(1, lambda _: shape, largest=SINGLE)
    page = draw_image(mosaic([values], 1, gap=(0, 0), filling=0.0), planned, limit, words)
    for axis, side, count in zip((page.axes.yaxis, page.axes.xaxis), shape, extent):
        indices = _round_steps(count)
        axis.set_ticks([index * (side / count) for index in indices], map(str, indices))
    return page


def tile_ticks(
    axes: Axes, rows: Sequence[int], columns: Sequence[int], cell: tuple[int, int], gap: int
) -> None:
    """Number the rows and columns of tiles by the grid rows and columns that they stand for."""
    for axis, places, side in ((axes.yaxis, rows, cell[0]), (axes.xaxis, columns, cell[1])):
        axis.set_ticks(tile_middles(len(places), side, gap), [str(place) for place in places])


def tile_middles(count: int, side: int, gap: int) -> list[float]:
    """Return the pixel in the middle of each of `count` tiles."""
    return [k * (side + gap) + (side - 1) / 2 for k in range(count)]


def _round_steps(count: int) -> list[int]:
    """About five indices of `count`, at steps of 1, 2 or 5 times a power of ten."""
    rough = max((count - 1) / 4, 1)
    power = 10 ** int(np.log10(rough))
    step = next(power * k for k in (1, 2, 5, 10) if power * k >= rough)
    return list(range(0, count, step))


def draw_image(
    layout: Mosaic, planned: Plan, limit: float, words: Words, *, above: float = 0.08
) -> Page:
    """Draw one image with its title, labels, caption and colour scale.

    Args:
        layout: the image.
        planned: its scale.
        limit: the scale is [−limit, limit].
        words: what is written around it.
        above: inches to leave between title and image.
    """
    width, height = (layout.image.shape[k] * planned.scale[k] / DPI for k in (1, 0))
    room, tall = max(width, LEAST_WIDTH), max(height, LEAST_HEIGHT)
    right = RIGHT + max(colorbar_width(limit) - USUAL_TICK, 0.0)
    narrowest = page_width() if is_paper() else min(NARROWEST_FIGURE, page_width())
    total_width = max(LEFT + room + right, narrowest)
    foot = caption_height(words.caption, total_width) + BELOW
    head = _title_height(words.title, total_width) + above
    figure = new_figure(total_width, head + tall + foot)
    axes = axes_at(figure, LEFT, foot + (tall - height) / 2, width, height)
    image = axes.imshow(
        np.clip(layout.image, -limit, None), cmap=diverging(), vmin=-limit, vmax=limit,
        interpolation="nearest", aspect="auto",
    )  # fmt: skip
    heading = _write_around(figure, axes, words)
    missing = bool(np.isnan(layout.image).any())
    bar = min(tall, TALLEST_BAR) - (KEY if missing else 0)
    left, bottom = LEFT + room + BAR_GAP, foot + tall - bar
    colorbar(figure, image, (left, bottom, BAR_WIDTH, bar), words.scale)
    if missing:
        mark_missing(axes, key=(left, bottom - KEY))
    return Page(figure, axes, image, layout, heading)


def _title_height(text: str, width: float) -> float:
    if not has_title():
        return NO_WORDS
    lines = headline(text, width).count("\n") + 1
    return 0.15 + lines * TITLE_SIZE * 1.2 / 72


def _write_around(figure: Figure, axes: Axes, words: Words) -> Text:
    caption(figure, words.caption)
    tidy(axes)
    axes.set(xticks=[], yticks=[])
    axes.set_xlabel(words.x, size=LABEL_SIZE, color=INK, labelpad=3)
    axes.set_ylabel(words.y, size=LABEL_SIZE, color=INK, labelpad=3)
    axes.spines[:].set_visible(False)
    return title(figure, words.title)


def _write_names(axes: Axes, names: Sequence[str], planned: Plan, layout: Mosaic) -> None:
    """Write each name above its map; where names are wider than maps, what tells them apart."""
    width = (planned.cell_pixels[1] + planned.gap[1] * planned.scale[1] - 2) / DPI * 72
    shown, size = fitted(names, width)
    for name, (top, left) in zip(shown, layout.corners):
        axes.text(
            left - 0.5, top - 0.5 - 3 / planned.scale[0], name,
            size=size, color=INK, va="bottom", ha="left", parse_math=False,
        )  # fmt: skip


def fitted(names: Sequence[str], width: float) -> tuple[list[str], float]:
    """Return names that fit `width` points, and their size: shortened first, then smaller."""
    shortened = [name[len(_common_start(names)) :] or name for name in names]
    for shown in (list(names), shortened):
        longest = max(len(name) for name in shown) * 0.56
        size = min(NAME_SIZE, width / longest)
        if size >= (NAME_SIZE - 1 if shown is not shortened else SMALLEST_NAME):
            return shown, size
    return shortened, SMALLEST_NAME


def _common_start(names: Sequence[str]) -> str:
    """What all names begin with, up to a dot: `"blocks."`."""
    first, last = min(names), max(names)
    same = next((k for k, (a, b) in enumerate(zip(first, last)) if a != b), 0)
    return first[: first.rfind(".", 0, same) + 1]


def _corner_ticks(axes: Axes, planned: Plan, layout: Mosaic, extent: tuple[int, int]) -> None:
    """The first and the last index, at the maps of the left column and of the bottom row."""
    rows, columns = layout.shape
    height, width = layout.cell
    tops = [k * (height + planned.gap[0]) for k in range(rows)]
    lefts = [k * (width + planned.gap[1]) for k in range(columns)]
    if columns > NARROW:
        tops, lefts = tops[-1:], lefts[:1]
    ys, rows_named = _ends(tops, height, height * planned.scale[0], extent[0])
    xs, columns_named = _ends(lefts, width, width * planned.scale[1], extent[1])
    axes.set_yticks(ys, rows_named)
    axes.set_xticks(xs, columns_named)
    for axis, start, end in ((axes.yaxis, "top", "bottom"), (axes.xaxis, "left", "right")):
        for label in axis.get_ticklabels():
            inward = start if label.get_text() == "0" else end
            label.set(va=inward) if axis is axes.yaxis else label.set(ha=inward)


def _ends(
    starts: Sequence[int], length: int, pixels: float, count: int
) -> tuple[list[float], list[str]]:
    """Places and texts of the first and the last index of each map, both where both fit."""
    ends = [(-0.5, "0"), (length - 0.5, str(count - 1))]
    shown = ends if pixels > TICK_ROOM and count > 1 else ends[:1]
    return [start + end for start in starts for end, _ in shown], [
        text for _ in starts for _, text in shown
    ]


def outline(page: Page, tokens: Sequence[tuple[int, int]]) -> None:
    """Outline one patch in each map of a page."""
    corners = page.layout.corners
    squares = [_square(top + row, left + col) for (top, left), (row, col) in zip(corners, tokens)]
    for colour, width in (("white", 2.0), (INK, 1.0)):
        page.axes.add_collection(LineCollection(squares, colors=colour, linewidths=width))


def _square(row: int, column: int) -> list[tuple[float, float]]:
    low_x, high_x, low_y, high_y = column - 0.5, column + 0.5, row - 0.5, row + 0.5
    return [(low_x, low_y), (high_x, low_y), (high_x, high_y), (low_x, high_y), (low_x, low_y)]
