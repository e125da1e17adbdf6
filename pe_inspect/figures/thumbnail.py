"""A result in a corner of an index: the maps of a few patches, with no words around them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from pe_inspect.figures.layout.style import axes_at, diverging, mosaic, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from pe_inspect.analysis.similarity import SimilarityResult

__all__ = ["draw_thumbnail"]

MOST_TILES: Final = 5
SIDE: Final = 1.0  # inches: 96 pixels on a page
THIN: Final = 0.1  # the least of it that a 1×N grid takes


def draw_thumbnail(result: SimilarityResult) -> Figure:
    """Draw the maps of at most 5×5 evenly spaced patches, as ViT's Figure 7 lays them out.

    Args:
        result: what `similarity` answered; its own scale is used, and not printed.
    """
    tiles = result.fig7(MOST_TILES)
    maps = list(tiles.values.reshape(-1, *tiles.grid_size) - np.float32(result.centre))
    gap = max(max(tiles.grid_size) // 8, 1)
    image = mosaic(maps, len(tiles.columns), gap=(gap, gap), filling=2 * result.limit).image
    height, width = image.shape
    longer = max(height, width)
    size = tuple(max(side / longer, THIN) * SIDE for side in (width, height))
    figure = new_figure(*size)
    axes = axes_at(figure, 0, 0, *size)
    axes.imshow(
        np.clip(image, -result.limit, None), cmap=diverging(), vmin=-result.limit,
        vmax=result.limit, interpolation="nearest", aspect="auto",
    )  # fmt: skip
    if np.isnan(image).any():
        axes.patch.set(facecolor="#e6e6e6")
    axes.set_axis_off()
    axes.patch.set_visible(True)
    return figure
