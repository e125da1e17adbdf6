"""What print asks of a finished figure: 8-point letters, and heat maps as exact cells."""

from __future__ import annotations

from typing import Any, Final

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.text import Text

from pe_inspect.figures.layout.style import SCALE, NotebookFigure

__all__ = ["for_print"]

POINTS: Final = 8.0
SVG_TEXT: Final = {"svg.fonttype": "none"}
LEAST: Final = 6.7  # smaller letters were shrunk to fit their place, and stay so
MOST_CELLS: Final = 200 * 200  # of a heat map as vectors; a larger one is an image
CELLS: Final = "cells"
SEAM: Final = 0.25  # points: cells overlap by that much, or viewers show white lines between them


def for_print(figure: Figure) -> Figure:
    """Give a figure the letters and the heat maps of print; it may be called again.

    Letters have the size of `rcParams["font.size"]` where that was chosen, else 8 points.
    """
    points = _points()
    if isinstance(figure, NotebookFigure):
        figure.rc = SVG_TEXT
    for text in figure.findobj(Text):
        if float(text.get_fontsize()) >= LEAST:
            text.set_fontsize(points)
    for axes in figure.findobj(Axes):
        _set_ticks(axes, points)
        for image in list(axes.images):
            _as_cells(axes, image)
    return figure


def _points() -> float:
    chosen = float(mpl.rcParams["font.size"])
    return POINTS if chosen == float(mpl.rcParamsDefault["font.size"]) else chosen


def _set_ticks(axes: Axes, points: float) -> None:
    """Set the size of ticks that are yet to be made, too."""
    for axis in (axes.xaxis, axes.yaxis):
        if all(float(label.get_fontsize()) >= LEAST for label in axis.get_ticklabels()):
            axis.set_tick_params(labelsize=points)


def _as_cells(axes: Axes, image: AxesImage) -> None:
    """Draw an image as cells, or as one pixel a cell where there are too many."""
    for earlier in [each for each in axes.collections if each.get_gid() == _gid(image)]:
        earlier.remove()
    values: Any = image.get_array()
    is_map = values is not None and values.ndim == 2 and image.get_gid() != SCALE
    if not is_map or values.size > MOST_CELLS:
        image.set_interpolation("none")
        return
    left, right, bottom, top = image.get_extent()
    rows, columns = values.shape
    limits = axes.get_xlim(), axes.get_ylim()
    ends = (bottom, top) if image.origin == "lower" else (top, bottom)
    norm: Any = image.norm
    mesh = axes.pcolormesh(
        np.linspace(left, right, columns + 1), np.linspace(*ends, rows + 1), values,
        cmap=image.get_cmap(), norm=norm, edgecolors="face", linewidth=SEAM,
        zorder=image.get_zorder(), gid=_gid(image),
    )  # fmt: skip
    mesh.set_rasterized(False)
    axes.set(xlim=limits[0], ylim=limits[1])
    image.set_visible(False)


def _gid(image: AxesImage) -> str:
    return f"{CELLS} {image.axes.images.index(image)}"
