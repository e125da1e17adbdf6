"""Rows of maps whose columns mean something too: layers over epochs, checkpoints over layers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pe_inspect.figures.layout.mosaics import Words, draw_page, fitted, outline, plan
from pe_inspect.figures.layout.style import DPI, INK

__all__ = ["Row", "draw_rows", "evenly", "thinned_to"]

LETTER: Final = 0.56  # em
FEWEST: Final = 6  # letters
BOX: Final = "□"


@dataclass(frozen=True, eq=False)
class Row:
    """One row of maps.

    Attributes:
        name: what the row is of.
        maps: (rows, columns) each.
        names: one above each map.
        token: the patch that is outlined in each.
    """

    name: str
    maps: Sequence[np.ndarray]
    names: Sequence[str]
    token: tuple[int, int]


def draw_rows(rows: Sequence[Row], scale: tuple[float, float], words: Words) -> Figure:
    """Draw maps in rows, each row's name at its left.

    Args:
        rows: of equally many maps.
        scale: its middle and half-width.
        words: what is written around the maps.
    """
    centre = np.float32(scale[0])
    maps = [np.asarray(values, np.float32) - centre for row in rows for values in row.maps]
    side = (max(len(values) for values in maps), max(values.shape[1] for values in maps))
    planned = plan(len(maps), lambda _: side, columns=len(rows[0].maps))
    names = [name for row in rows for name in row.names]
    page = draw_page(maps, names, planned, scale[1], words, None)
    outline(page, [row.token for row in rows for _ in row.maps])
    tops = list(dict.fromkeys(top for top, _ in page.layout.corners))
    places = [top + (side[0] - 1) / 2 for top in tops]
    _name_rows(page.axes, places, [row.name for row in rows], planned.cell_pixels[0])
    return page.figure


def _name_rows(axes: Axes, places: Sequence[float], names: Sequence[str], pixels: float) -> None:
    """Write names upright at the left: shortened, then smaller, then cut where maps are low."""
    room = pixels / DPI * 72
    fitting, size = fitted(names, room)
    most = max(int(room / (size * LETTER)), FEWEST)
    cut = [name if len(name) <= most else f"{name[: most - 1]}…" for name in fitting]
    shown = [legible(name) for name in cut]
    axes.set_yticks(list(places), shown)
    axes.tick_params(axis="y", length=0, labelrotation=90)
    for label in axes.get_yticklabels():
        label.set(va="center", color=INK, size=size, parse_math=False)


def legible(name: str) -> str:
    """Return a name with a box for each character that the font cannot draw, or that hides."""
    known = _characters()
    return "".join(c if c.isprintable() and ord(c) in known else BOX for c in name)


@cache
def _characters() -> frozenset[int]:
    from matplotlib.font_manager import FontProperties, findfont, get_font

    return frozenset(get_font(findfont(FontProperties())).get_charmap())


def evenly(count: int, most: int) -> list[int]:
    """At most `most` places of `count`, the first and the last among them."""
    return sorted({round(k) for k in np.linspace(0, count - 1, min(count, most))})


def thinned_to(shown: int, of: int, what: str) -> str:
    """Say that only some were drawn; nothing where all were."""
    return "" if shown == of else f"Thinned: {shown} of {of} {what}, evenly spaced. "
