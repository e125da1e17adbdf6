"""Maps of a patch grid: boxes that keep their proportions, ticks in patches, a shared scale."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, Normalize
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from pe_inspect.arrays import Float
from pe_inspect.figures.layout.look import page_width
from pe_inspect.figures.layout.style import (
    INK,
    LABEL_SIZE,
    axes_at,
    colorbar,
    mark_missing,
    tidy,
)

__all__ = ["Map", "map_height", "maps_row", "outlined", "spread"]

FLAT: Final = 1e-5
NARROWEST: Final = 0.3  # inches: the thin side of a 1×N grid
LOWEST: Final = 1.1  # the colour scale needs that much for its ticks and label
LEFT: Final = 0.62
RIGHT: Final = 1.0  # the colour scale and its label
GAP: Final = 0.5
BAR: Final = 0.11
ABOVE: Final = 0.24  # a panel's title
BELOW: Final = 0.42  # ticks and their label


@dataclass(frozen=True, eq=False)
class Map:
    """One panel.

    Attributes:
        values: (rows, columns); NaN is drawn as missing.
        title: above the panel.
        centred: whether coordinates count from the middle, as offsets do.
    """

    values: Float[np.ndarray, "rows columns"]
    title: str
    centred: bool = False

    @property
    def extent(self) -> tuple[float, float, float, float]:
        """Left, right, bottom, top in patches, with whole numbers at cell centres."""
        rows, columns = self.values.shape
        y, x = (rows // 2, columns // 2) if self.centred else (0, 0)
        return (-0.5 - x, columns - 0.5 - x, rows - 0.5 - y, -0.5 - y)


def map_height(maps: tuple[Map, ...], width: float) -> float:
    """The inches that `maps_row` needs, titles and tick labels included."""
    side = _side(len(maps), width)
    return max(LOWEST, *(_box(panel, side)[1] for panel in maps)) + ABOVE + BELOW


def maps_row(
    figure: Figure,
    maps: tuple[Map, ...],
    bottom: float,
    *,
    cmap: Colormap,
    norm: Normalize,
    label: str,
    axis: str = "patch",
    width: float | None = None,
) -> list[Axes]:
    """Draw maps side by side on one scale, the colour bar at their right.

    Args:
        figure: what to draw on, from its left edge on.
        maps: the panels.
        bottom: inches from the figure's lower edge; `map_height` says how many are needed.
        cmap: colours.
        norm: the scale of all panels.
        label: of the colour bar.
        axis: what rows and columns are: `"patch"` or `"offset"`.
        width: inches that the row takes, from the figure's left edge; default the page's.
    """
    room = page_width() if width is None else width
    side = _side(len(maps), room)
    tallest = map_height(maps, room) - ABOVE - BELOW
    drawn = []
    for k, panel in enumerate(maps):
        box = _box(panel, side)
        left = LEFT + k * (side + GAP)
        axes = axes_at(figure, left, bottom + BELOW + tallest - box[1], *box)
        image = _draw(axes, panel, cmap, norm)
        _label(axes, panel, axis, with_rows=k == 0)
        drawn.append(axes)
    bar = (left + box[0] + 0.1, bottom + BELOW, BAR, tallest)
    colorbar(figure, image, bar, label)
    return drawn


def outlined(axes: Axes, cell: tuple[int, int], shape: tuple[int, int]) -> None:
    """Outline one patch, in ink on white so that it shows on any colour."""
    row, column = cell
    for colour, width in (("white", 2.2), (INK, 1.0)):
        axes.add_patch(
            Rectangle((column - 0.5, row - 0.5), 1, 1, fill=False, edgecolor=colour,
                      linewidth=width, clip_on=False, zorder=3)
        )  # fmt: skip
    axes.set_xlim(-0.5, shape[1] - 0.5)
    axes.set_ylim(shape[0] - 0.5, -0.5)


def spread(*arrays: Float[np.ndarray, "..."], from_zero: bool = False) -> Normalize:
    """One scale for several maps; never empty, whatever they hold."""
    finite = np.concatenate([array[np.isfinite(array)].ravel() for array in arrays])
    low, high = (finite.min(), finite.max()) if finite.size else (0.0, 1.0)
    low = 0.0 if from_zero else low
    if high - low <= FLAT * abs(high):  # rounding is not to be drawn as structure
        low, high = (0.0, 1.0) if high == 0 else sorted((0.95 * high, 1.05 * high))
    return Normalize(float(low), float(high))


def _side(panels: int, width: float) -> float:
    return (width - LEFT - RIGHT - GAP * (panels - 1)) / panels


def _box(panel: Map, side: float) -> tuple[float, float]:
    """The width and height that keep cells square within a square of that side."""
    rows, columns = panel.values.shape
    inch = side / max(rows, columns)
    return max(columns * inch, NARROWEST), max(rows * inch, NARROWEST)


def _draw(axes: Axes, panel: Map, cmap: Colormap, norm: Normalize) -> AxesImage:
    image = axes.imshow(
        panel.values, cmap=cmap, norm=norm, extent=panel.extent,
        aspect="auto", interpolation="nearest",
    )  # fmt: skip
    if not np.isfinite(panel.values).all():
        mark_missing(axes)
    return image


def _label(axes: Axes, panel: Map, axis: str, *, with_rows: bool) -> None:
    tidy(axes)
    axes.set_title(panel.title, size=LABEL_SIZE, color=INK, loc="left", pad=4)
    for one, count in zip((axes.yaxis, axes.xaxis), panel.values.shape):
        one.set_major_locator(MaxNLocator(nbins=min(count, 7), integer=True, min_n_ticks=1))
    axes.set_xlabel(f"{axis} column", size=LABEL_SIZE, color=INK, labelpad=2)
    if with_rows:
        axes.set_ylabel(f"{axis} row", size=LABEL_SIZE, color=INK, labelpad=2)
