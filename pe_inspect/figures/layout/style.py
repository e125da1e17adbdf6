"""The look that all figures share: sizes, fonts, colours, and axes of maps placed in inches.

Maps are placed by arithmetic, so that a patch is as many pixels in one as in the next, and grids
of maps are one image, because an axes costs as much as ten maps. Panels of lines are laid out by
matplotlib (`lines.panel_figure`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from types import MappingProxyType
from typing import Any, Final

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import Colormap, LinearSegmentedColormap
from matplotlib.figure import Figure, SubFigure
from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.text import Text

from pe_inspect.arrays import Float32
from pe_inspect.figures.layout.look import has_caption, has_title, look, page_width

__all__ = [
    "CAPTION_SIZE", "DIGIT", "DPI", "INK", "LABEL_SIZE", "MUTED", "NO_WORDS", "PALETTE",
    "SCALE",
    "TICK_SIZE", "TITLE_SIZE", "Mosaic", "NotebookFigure", "axes_at", "caption", "caption_height",
    "color_scale", "colorbar", "colorbar_width", "diverging", "framed", "headline",
    "mark_missing", "mosaic", "new_figure", "scale_labels", "sequential", "tidy", "title",
    "title_height", "wrapped",
]  # fmt: skip

DPI: Final = 150
TITLE_SIZE: Final = 10.0
LABEL_SIZE: Final = 8.5
DIGIT: Final = 0.6  # em
TICK_SIZE: Final = 7.5
CAPTION_SIZE: Final = 7.5
TITLE_LINE: Final = 0.17  # inches
SCALE: Final = "scale"  # the gid of an image that is a scale of colours, and no map
NO_WORDS: Final = 0.05  # inches that are left where a title or a caption would be
EMBEDDED: Final = {"pdf.fonttype": 42, "ps.fonttype": 42}
LEAST_PLAIN: Final = 1e-3  # the largest number of a scale that is written without a power of ten
MOST_PLAIN: Final = 1e4
MOST_DECIMALS: Final = 6
HINTED: Final = 1.03  # letters on a grid of pixels are this much wider than designed, at most
INK: Final = "#1b1b1f"
MUTED: Final = "#5c5f66"
HATCH: Final[dict[str, Any]] = {"facecolor": "#e6e6e6", "edgecolor": "#8c8c8c", "hatch": "//////"}

# Okabe and Ito's colours, told apart by the colour-blind; darkest first.
PALETTE: Final = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")

# A diverging map whose lightness L* rises evenly from 14 to 96: zero is a neutral grey, and signs
# survive a greyscale print and every kind of colour blindness.
_DIVERGING: Final = (
    "#002155", "#012d64", "#013974", "#004683", "#035392", "#24609a", "#4a6c94", "#69788c",
    "#848484",
    "#a58c7e", "#c49573", "#dda066", "#eead60", "#fbbd56", "#ffd066", "#ffe38e", "#fff4c5",
)  # fmt: skip


class NotebookFigure(Figure):
    """A figure without pyplot that shows itself in a notebook.

    Attributes:
        rc: settings of matplotlib with which it is saved.
    """

    rc: Mapping[str, Any] = MappingProxyType({})

    def savefig(self, *arguments: Any, **options: Any) -> None:
        """Save with fonts as TrueType, which printers ask for; of paper, SVG text as text."""
        settings: dict[Any, Any] = {**EMBEDDED, **self.rc}
        with mpl.rc_context(settings):
            super().savefig(*arguments, **options)

    def _repr_png_(self) -> bytes:
        buffer = BytesIO()
        self.savefig(buffer, format="png")
        return buffer.getvalue()


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure of that many inches, on an Agg canvas."""
    figure = NotebookFigure(figsize=(width, height), dpi=DPI, facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def framed(words: str, text: str, height: float) -> Figure:
    """Return a page-wide figure with a title, a caption, and `height` inches between them."""
    width = page_width()
    figure = new_figure(width, title_height(words, width) + height + caption_height(text, width))
    title(figure, words)
    caption(figure, text)
    return figure


def axes_at(figure: Figure, left: float, bottom: float, width: float, height: float) -> Axes:
    """Add axes whose box is given in inches from the figure's lower left corner."""
    total_width, total_height = figure.get_size_inches()
    return figure.add_axes(
        (left / total_width, bottom / total_height, width / total_width, height / total_height)
    )


def tidy(axes: Axes) -> None:
    """Give axes the shared tick size, ink and thin spines."""
    axes.tick_params(labelsize=TICK_SIZE, length=2.5, width=0.6, colors=INK, pad=2)
    for spine in axes.spines.values():
        spine.set(linewidth=0.6, edgecolor=INK)


def title(figure: Figure, text: str, *, left: float = 0.12) -> Text:
    """Write the figure's title at its upper left; `left` is in inches."""
    width, height = figure.get_size_inches()
    return figure.text(
        left / width, 1 - 0.09 / height, headline(text, width, left=left), visible=has_title(),
        size=TITLE_SIZE, weight="bold", color=INK, va="top", ha="left", linespacing=1.15,
        gid="title",
    )  # fmt: skip


def title_height(text: str, width: float, *, lines: float = 2.0) -> float:
    """Return the inches that a title takes in a figure of that width, with the room below it.

    Args:
        text: the title.
        width: inches.
        lines: the height of a title of one line, in lines.
    """
    if not has_title():
        return NO_WORDS
    return TITLE_LINE * (lines + headline(text, width).count("\n"))


def headline(text: str, width: float, *, left: float = 0.12) -> str:
    """Return a title in lines that fit a figure of that width, in inches."""
    return wrapped(text, width - 2 * left, TITLE_SIZE, bold=True)


def caption(figure: Figure, text: str, *, left: float = 0.12) -> None:
    """Write a wrapped caption at the figure's lower left; leave `caption_height` for it."""
    width, height = figure.get_size_inches()
    figure.text(
        left / width, 0.08 / height, wrapped(text, width - 2 * left, CAPTION_SIZE),
        size=CAPTION_SIZE, color=MUTED, va="bottom", ha="left", linespacing=1.2, gid="caption",
        visible=has_caption(),
    )  # fmt: skip


def caption_height(text: str, width: float, *, left: float = 0.12) -> float:
    """Return the inches that `caption` needs for `text` in a figure of that width."""
    if not has_caption():
        return NO_WORDS
    lines = wrapped(text, width - 2 * left, CAPTION_SIZE).count("\n") + 1
    return 0.12 + lines * CAPTION_SIZE * 1.2 * 1.05 / 72


def wrapped(text: str, width: float, size: float, *, bold: bool = False) -> str:
    """Break `text` into lines of at most `width` inches at `size` points, between words.

    A word that is wider than a line is broken where the line ends.
    """
    lines = [""]
    for word in text.split():
        lines[-1:] = _filled(lines[-1], word, width * 72 / size, bold)
    return "\n".join(lines) or text


def _filled(line: str, word: str, room: float, bold: bool) -> list[str]:
    """Return a line with a word added to it, or the line and what goes on below it."""
    longer = f"{line} {word}" if line else word
    if _letters_width(longer, bold) <= room:
        return [longer]
    if line:
        return [line, *_filled("", word, room, bold)]
    count = len(word)
    while count > 1 and _letters_width(word[:count], bold) > room:
        count -= 1
    return [word[:count], *(_filled("", word[count:], room, bold) if word[count:] else ())]


def _letters_width(text: str, bold: bool) -> float:
    return sum(_letter_width(letter, bold) for letter in text)


@cache
def _letter_width(letter: str, bold: bool) -> float:
    """Return how far a letter of the figures' font moves the pen, in em."""
    font = get_font(findfont(FontProperties(weight="bold" if bold else "normal")))
    font.set_size(100, 72)
    glyph = font.load_glyph(font.get_char_index(ord(letter)))
    return HINTED * float(glyph.linearHoriAdvance) / 65536 / 100


def diverging() -> Colormap:
    """The colours of signed values, centred at zero: dark blue, grey, pale yellow, or those chosen.

    Missing values are transparent, so that the hatched background of `mark_missing` shows;
    values above the scale (the gaps of a `mosaic`) are white.
    """
    chosen = look().cmap
    return _diverging() if chosen is None else _named(chosen)


def sequential() -> Colormap:
    """The colours of unsigned magnitudes; missing values and gaps as in `diverging`."""
    return _named(look().cmap or "viridis")


@cache
def _diverging() -> Colormap:
    colours = LinearSegmentedColormap.from_list("pe_diverging", list(_DIVERGING), N=512)
    return colours.with_extremes(bad=(0, 0, 0, 0), over="white")


@cache
def _named(name: str) -> Colormap:
    from matplotlib import colormaps

    return colormaps[name].with_extremes(bad=(0, 0, 0, 0), over="white")


def mark_missing(
    axes: Axes, *, label: str = "undefined", key: tuple[float, float] | None = None
) -> None:
    """Hatch the axes' background, which shows where values are missing, and say so in a key.

    Args:
        axes: the axes with the image, drawn with `diverging` or `sequential`.
        label: what missing means.
        key: (left, bottom) of the key in the figure, in inches; default above the axes, right.
    """
    axes.patch.set(**HATCH, linewidth=0)
    figure = axes.get_figure()
    if key is None or not isinstance(figure, Figure):
        _legend(axes, label)
        return
    box = axes_at(figure, *key, 0.14, 0.14)
    box.set(xticks=[], yticks=[])
    box.patch.set(**HATCH, linewidth=0)
    tidy(box)
    box.text(1.35, 0.5, label, size=TICK_SIZE, color=INK, va="center", transform=box.transAxes)


def _legend(axes: Axes, label: str) -> None:
    from matplotlib.patches import Patch

    axes.legend(
        handles=[Patch(**HATCH, linewidth=0.5, label=label)],
        loc="lower right", bbox_to_anchor=(1, 1), borderaxespad=0.2, frameon=False,
        fontsize=TICK_SIZE, handlelength=1.4, handleheight=0.9,
    )  # fmt: skip


def colorbar(figure: Figure, image: Any, box: Sequence[float], label: str) -> Axes:
    """Draw the linear colour scale of `image` upright in `box`: an image with ticks, no more.

    Args:
        figure: the figure.
        image: what `imshow` returned.
        box: inches: left, bottom, width, height.
        label: the quantity, with its unit where it has one.
    """
    low, high = image.get_clim()
    axes = axes_at(figure, *box)
    scale = np.linspace(low, high, 256, dtype=np.float32)[:, None]
    axes.imshow(
        scale, cmap=image.get_cmap(), vmin=low, vmax=high,
        origin="lower", aspect="auto", extent=(0, 1, low, high), interpolation="nearest", gid=SCALE,
    )  # fmt: skip
    ticks = np.linspace(low, high, 5 if box[3] >= 0.8 else 3)
    axes.set(xticks=[], yticks=ticks, yticklabels=scale_labels(ticks.tolist()))
    axes.yaxis.tick_right()
    axes.yaxis.set_label_position("right")
    axes.set_ylabel(label, size=LABEL_SIZE, color=INK, labelpad=3)
    tidy(axes)
    return axes


def color_scale(inside: SubFigure, image: Any, panels: Sequence[Axes], label: str) -> Axes:
    """Let matplotlib put the colour scale of `image` beside panels that it lays out."""
    bar = inside.colorbar(image, ax=panels, fraction=0.02, pad=0.01, aspect=24, anchor=(0, 1))
    tidy(bar.ax)
    bar.outline.set_linewidth(0.6)
    bar.set_label(label, size=LABEL_SIZE, color=INK, labelpad=3)
    return bar.ax


def colorbar_width(limit: float) -> float:
    """The inches that the longest tick label of the scale [−limit, limit] takes, at most."""
    labels = scale_labels([part * limit for part in (-1.0, -0.5, 0.0, 0.5, 1.0)])
    return max(map(len, labels)) * DIGIT * TICK_SIZE / 72


def scale_labels(ticks: Sequence[float]) -> list[str]:
    """Write the numbers of a scale with equally many decimals, and a true minus sign.

    Three significant digits of the largest, and two of the step between ticks; a scale far from 1
    has powers of ten.
    """
    largest, step = max(map(abs, ticks)), abs(ticks[1] - ticks[0])
    if not LEAST_PLAIN <= largest < MOST_PLAIN or step == 0:
        return [f"{tick:.3g}".replace("-", "−") for tick in ticks]
    decimals = max(2 - math.floor(math.log10(largest)), 1 - math.floor(math.log10(step)), 0)
    texts = [f"{tick:z.{min(decimals, MOST_DECIMALS)}f}" for tick in ticks]
    while all("." in text and text[-1] == "0" for text in texts):
        texts = [text[:-1].removesuffix(".") for text in texts]
    return [text.replace("-", "−") for text in texts]


@dataclass(frozen=True, eq=False)
class Mosaic:
    """Several maps as one image.

    Attributes:
        image: the maps side by side; gaps and unused cells hold the filling.
        corners: (row, column) of each map's upper left pixel, in the order given.
        cell: (rows, columns) of the largest map.
        shape: (rows, columns) of maps.
    """

    image: Float32[np.ndarray, "rows columns"]
    corners: tuple[tuple[int, int], ...]
    cell: tuple[int, int]
    shape: tuple[int, int]


def mosaic(
    maps: Sequence[np.ndarray], columns: int, *, gap: tuple[int, int], filling: float
) -> Mosaic:
    """Lay maps row by row into one image; a smaller map lies in the corner of its cell.

    Args:
        maps: the maps, (height, width) each.
        columns: maps in a row.
        gap: (rows, columns) of pixels between maps.
        filling: the value of gaps; above the scale's maximum it is drawn white.
    """
    height, width = (max(values.shape[axis] for values in maps) for axis in (0, 1))
    rows = -(-len(maps) // columns)
    step = (height + gap[0], width + gap[1])
    image = np.full((rows * step[0] - gap[0], columns * step[1] - gap[1]), filling, np.float32)
    corners = tuple((k // columns * step[0], k % columns * step[1]) for k in range(len(maps)))
    for (top, left), values in zip(corners, maps):
        image[top : top + values.shape[0], left : left + values.shape[1]] = values
    return Mosaic(image, corners, (height, width), (rows, columns))
