"""A sheet of small maps in rows and columns that mean something: layers by heads, places, channels.

Maps hold values on one scale, which may be logarithmic, or colours (rows, columns, 3).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from pe_inspect.figures.layout.look import is_paper, page_width
from pe_inspect.figures.layout.style import (
    DPI,
    INK,
    LABEL_SIZE,
    TICK_SIZE,
    axes_at,
    caption,
    caption_height,
    colorbar,
    new_figure,
    tidy,
    title,
    title_height,
)

__all__ = ["Framed", "Scale", "Sheet", "columns_for", "draw_sheet", "outline_box", "room_for"]

LEFT: Final = 0.62  # inches: names of rows, and the label of the y axis
RIGHT: Final = 1.02  # the colour scale, its ticks and its label
PLAIN_RIGHT: Final = 0.16  # where colours need no scale
BELOW: Final = 0.26
BAR: Final = (0.16, 0.13, 2.6)  # gap, width, tallest
KEY: Final = 0.24  # the key of frames
GAP: Final = 6  # pixels between maps
NAME: Final = 0.155  # inches of a line above a map
NAME_SIZE: Final = 6.8
LETTER: Final = 0.56  # em
LARGEST: Final = 1.6  # inches of the longer side of a map
TALLEST: Final = 8.0  # inches of all maps
WIDEST_PATCH: Final = 24  # pixels
TICKS: Final = 5  # of a logarithmic scale
MOST_COLUMNS: Final = 8  # where rows mean nothing


@dataclass(frozen=True)
class Scale:
    """The colours of values.

    Attributes:
        cmap: the colours.
        norm: which value has which.
        label: the quantity, with its unit.
    """

    cmap: Colormap
    norm: Normalize
    label: str


@dataclass(frozen=True)
class Framed:
    """What a frame of some colour around a map says."""

    colour: str
    label: str


@dataclass(frozen=True, eq=False)
class Sheet:
    """What is drawn.

    Attributes:
        title: of the figure.
        caption: below it.
        maps: row by row, (rows, columns) or (rows, columns, 3) each; `None` leaves a place free.
        columns: maps in a row.
        names: above each map.
        row_names: at the left of each row; none for none.
        x: what columns are.
        y: what rows are.
        frames: around some maps, by their number.
        keys: what frames mean, in the order of the key.
        marks: a patch that is outlined in some maps, by their number.
    """

    title: str
    caption: str
    maps: Sequence[np.ndarray | None]
    columns: int
    names: Sequence[str] = ()
    row_names: Sequence[str] = ()
    x: str = ""
    y: str = ""
    frames: dict[int, Framed] = field(default_factory=dict)
    keys: tuple[Framed, ...] = ()
    marks: dict[int, tuple[int, int]] = field(default_factory=dict)

    @property
    def num_rows(self) -> int:
        """Rows of maps."""
        return -(-len(self.maps) // self.columns)


def room_for(columns: int, *, has_scale: bool = True) -> int:
    """Return how many pixels the side of a map has at most where so many stand in a row."""
    width = page_width() - LEFT - (RIGHT if has_scale else PLAIN_RIGHT)
    return int(min((width * DPI - GAP * (columns - 1)) / columns, LARGEST * DPI))


@dataclass(frozen=True)
class _Cells:
    """Where maps lie, in pixels: of a patch, of the names above, and from one map to the next."""

    side: tuple[int, int]
    patch: int
    name: int

    @property
    def step(self) -> tuple[int, int]:
        return self.side[0] * self.patch + GAP + self.name, self.side[1] * self.patch + GAP


def columns_for(count: int, side: int, *, has_scale: bool = True) -> int:
    """Return how many maps go in a row, where rows mean nothing: as fill it best, and more."""

    def width(columns: int) -> int:
        patch = min(room_for(columns, has_scale=has_scale) // side, WIDEST_PATCH)
        return columns * patch * side

    return max(range(1, min(count, MOST_COLUMNS) + 1), key=lambda n: (width(n), n))


def draw_sheet(sheet: Sheet, scale: Scale | None) -> Figure:
    """Draw a sheet; without a scale its maps are colours."""
    shapes = [each.shape for each in sheet.maps if each is not None]
    side = max(shape[0] for shape in shapes), max(shape[1] for shape in shapes)
    patch = _pixels_a_patch(sheet, side, has_scale=scale is not None)
    cells = _Cells(side, patch, _name_pixels(sheet))
    rows, columns = sheet.num_rows, min(sheet.columns, len(sheet.maps))
    height, width = (n * step - GAP for n, step in zip((rows, columns), cells.step))
    figure, axes = _framed(sheet, height / DPI, width / DPI, has_scale=scale is not None)
    image = _draw_maps(axes, sheet, scale, cells)
    axes.set(xlim=(0, width), ylim=(height, 0))
    _write_names(axes, sheet, cells)
    if scale is not None:
        _draw_scale(figure, axes, image, scale)
    if sheet.keys:
        _draw_key(axes, sheet.keys)
    return figure


def _name_pixels(sheet: Sheet) -> int:
    return round(NAME * DPI) if any(sheet.names) else 0


def _pixels_a_patch(sheet: Sheet, side: tuple[int, int], *, has_scale: bool) -> int:
    """Return whole pixels for a patch, as many as fit the page."""
    room = room_for(sheet.columns, has_scale=has_scale)
    low = (TALLEST * DPI / sheet.num_rows - GAP - _name_pixels(sheet)) / side[0]
    return max(1, min(int(room / max(side)), int(low), WIDEST_PATCH))


def _framed(sheet: Sheet, height: float, width: float, *, has_scale: bool) -> tuple[Figure, Axes]:
    """Return a figure with title and caption, and axes in pixels for the maps."""
    least = page_width() if is_paper() else 0.72 * page_width()
    total = max(LEFT + width + (RIGHT if has_scale else PLAIN_RIGHT), least)
    head = title_height(sheet.title, total, lines=1.9)
    foot = caption_height(sheet.caption, total) + (BELOW if sheet.x else 0.08)
    key = KEY if sheet.keys else 0.0
    figure = new_figure(total, head + key + max(height, 0.9) + foot)
    title(figure, sheet.title)
    caption(figure, sheet.caption)
    axes = axes_at(figure, LEFT, foot, width, height)
    axes.set(xlim=(0, width * DPI), ylim=(height * DPI, 0), xticks=[], yticks=[])
    axes.set_xlabel(sheet.x, size=LABEL_SIZE, color=INK, labelpad=3)
    axes.set_ylabel(sheet.y, size=LABEL_SIZE, color=INK, labelpad=3)
    axes.spines[:].set_visible(False)
    tidy(axes)
    return figure, axes


def _draw_maps(axes: Axes, sheet: Sheet, scale: Scale | None, cells: _Cells) -> Any:
    """Draw every map where it belongs; return the last image."""
    image: Any = None
    colours: dict[str, Any] = {} if scale is None else {"cmap": scale.cmap, "norm": scale.norm}
    for k, values in enumerate(sheet.maps):
        if values is None:
            continue
        row, column = divmod(k, sheet.columns)
        top, left = row * cells.step[0] + cells.name, column * cells.step[1]
        tall, wide = values.shape[0] * cells.patch, values.shape[1] * cells.patch
        extent = (left, left + wide, top + tall, top)
        image = axes.imshow(values, extent=extent, interpolation="nearest", aspect="auto",
                            **colours)  # fmt: skip
        if k in sheet.frames:
            outline_box(axes, (left, top), (wide, tall), ((sheet.frames[k].colour, 1.6),))
        if k in sheet.marks:
            down, right = sheet.marks[k]
            place = (left + right * cells.patch, top + down * cells.patch)
            outline_box(axes, place, (cells.patch, cells.patch))
    return image


def outline_box(
    axes: Axes,
    corner: tuple[float, float],
    size: tuple[float, float],
    lines: Iterable[tuple[str, float]] = (("white", 1.8), (INK, 0.8)),
) -> None:
    """Outline a box, in ink on white so that it shows on any colour.

    Args:
        axes: where it is.
        corner: left and top.
        size: width and height.
        lines: the colour and the width of each line, the lowest first.
    """
    for colour, width in lines:
        axes.add_patch(
            Rectangle(corner, *size, fill=False, edgecolor=colour, linewidth=width, clip_on=False,
                      zorder=3)
        )  # fmt: skip


def _write_names(axes: Axes, sheet: Sheet, cells: _Cells) -> None:
    room = (cells.step[1] - 2) / DPI * 72
    longest = max((len(name) for name in sheet.names), default=1) * LETTER
    size = min(NAME_SIZE, room / max(longest, LETTER))
    for k, name in enumerate(sheet.names):
        row, column = divmod(k, sheet.columns)
        place = column * cells.step[1], row * cells.step[0] + cells.name - 3
        axes.text(*place, name, size=size, color=INK, va="bottom", ha="left", parse_math=False)
    if sheet.row_names:
        middle = cells.name + cells.side[0] * cells.patch / 2
        places = [row * cells.step[0] + middle for row in range(sheet.num_rows)]
        axes.set_yticks(places, sheet.row_names)
        axes.tick_params(axis="y", length=0, labelsize=TICK_SIZE)


def _draw_scale(figure: Figure, axes: Axes, image: Any, scale: Scale) -> None:
    """Draw the colour scale at the right of the maps; logarithmic where the colours are."""
    width, height = figure.get_size_inches()
    place = axes.get_position()
    tall = min(place.height * height, BAR[2])
    box = (place.x1 * width + BAR[0], place.y1 * height - tall, BAR[1], tall)
    if not isinstance(scale.norm, LogNorm):
        colorbar(figure, image, box, scale.label)
        return
    ticks = np.geomspace(scale.norm.vmin or 1.0, scale.norm.vmax or 1.0, TICKS)
    bar = figure.colorbar(image, cax=axes_at(figure, *box), ticks=ticks, format=_two_digits)
    bar.ax.minorticks_off()
    bar.outline.set_linewidth(0.6)
    bar.set_label(scale.label, size=LABEL_SIZE, color=INK, labelpad=3)
    tidy(bar.ax)


def _two_digits(value: float, _: object = None) -> str:
    """Write a number with two digits that count: 0.0016, 0.34."""
    return np.format_float_positional(float(f"{value:.2g}"), trim="-")


def _draw_key(axes: Axes, keys: Sequence[Framed]) -> None:
    handles = [Patch(facecolor="none", edgecolor=each.colour, linewidth=1.6, label=each.label)
               for each in keys]  # fmt: skip
    axes.legend(
        handles=handles, loc="lower left", bbox_to_anchor=(0, 1), frameon=False, borderaxespad=0.2,
        fontsize=TICK_SIZE, ncols=len(handles), handlelength=1.2, handleheight=1.0,
        columnspacing=1.4,
    )  # fmt: skip
