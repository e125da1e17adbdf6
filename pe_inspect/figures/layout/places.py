"""Lines over the places of a residual stream: ahead of each block, behind the last, `final`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator

from pe_inspect.arrays import Float
from pe_inspect.figures.layout.lines import lined, marker_size
from pe_inspect.figures.layout.style import INK, LABEL_SIZE

__all__ = ["place_band", "place_line", "places_axis"]

MOST_TICKS: Final = 8  # in half of a page's width
STEPS: Final = (1, 2, 3, 4, 6, 8, 12, 16, 24, 48)


def places_axis(axes: Axes, places: Sequence[str], y: str) -> None:
    """Put places on the x axis: the number of blocks before them, and `norm` behind the last."""
    lined(axes, "", y)
    last = len(places) - 1
    step = next((step for step in STEPS if last / step < MOST_TICKS), STEPS[-1])
    ticks = [k for k in range(0, last, step) if last - k > step / 2]
    labels = [places[k].removeprefix("h") for k in ticks]
    axes.xaxis.set_major_locator(FixedLocator([*ticks, last]))
    axes.set_xticklabels([*labels, "norm"])
    axes.set_xlim(-0.5, last + 0.5)
    axes.set_xlabel("after so many blocks", size=LABEL_SIZE,
                    color=INK, labelpad=2)  # fmt: skip


def place_band(axes: Axes, ends: Float[np.ndarray, "places 2"], colour: str) -> None:
    """Draw intervals as a band behind a line; nothing where none was drawn."""
    axes.fill_between(range(len(ends)), ends[:, 0], ends[:, 1], color=colour, alpha=0.14, lw=0)


def place_line(
    axes: Axes, values: Float[np.ndarray, " places"], label: str, colour: str,
    line: str | tuple[int, tuple[float, ...]] = "-", marker: str = "o",
) -> None:  # fmt: skip
    """Draw a line with a mark at every place; missing values leave a gap."""
    axes.plot(range(len(values)), values, color=colour, linestyle=line, linewidth=1.2,
              marker=marker, markersize=marker_size(len(values)), label=label)  # fmt: skip
