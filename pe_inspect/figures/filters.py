"""Figures of `filters`: the first components as tiles, and what of the table lies in their span."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from pe_inspect.arrays import Float32
from pe_inspect.figures import drawings
from pe_inspect.figures.layout.lines import lined, panel_figure, panel_title
from pe_inspect.figures.layout.look import page_width
from pe_inspect.figures.layout.mosaics import plan
from pe_inspect.figures.layout.style import (
    DPI,
    MUTED,
    PALETTE,
    axes_at,
    caption_height,
    framed,
    mosaic,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from pe_inspect.analysis.filters import FiltersResult

__all__ = ["draw"]

LEFT: Final = 0.12  # inches, as the title's
COLUMNS: Final = 7
HEIGHT: Final = 2.3
RGB: Final = 3
_READING: Final = (
    "Each tile from its least to its greatest weight; red, green and blue are the channels of the "
    "image. Number {first} to {last}, row by row, explain {share:.3g} % of the filters' variance."
)
_GREY: Final = (
    "Each tile is the mean over the {channels} channels of the image, from its least to its "
    "greatest value. Number {first} to {last}, row by row, explain {share:.3g} % of the filters' "
    "variance."
)
_SPECTRUM: Final = (
    "Left: the share of the filters' variance of each principal component. Right: the share of the "
    "centred position table inside the span of the first k components' directions among the "
    "channels; dashed: of k random directions, on average."
)


@drawings.register("filters")
def draw(result: FiltersResult) -> dict[str, Figure]:
    """Draw the components of the filters.

    Args:
        result: what `filters` answered.

    Returns:
        `filters`: the first components as tiles; `filters_spectrum`: their variance, and the
        share of the table inside their span. Neither where all filters are equal.
    """
    if not len(result.components.spectrum):
        return {}
    return {"filters": _tiles(result), "filters_spectrum": _spectrum(result)}


def _tiles(result: FiltersResult) -> Figure:
    tiles = [_picture(tile) for tile in result.tiles]
    side = (tiles[0].shape[0], tiles[0].shape[1])
    planned = plan(len(tiles), lambda _: side, columns=min(COLUMNS, len(tiles)))
    gap = (1, 1)
    layers = [
        mosaic([tile[..., k] for tile in tiles], planned.columns, gap=gap, filling=1.0).image
        for k in range(RGB)
    ]
    image = np.stack(layers, axis=-1)
    height, width = (image.shape[k] * planned.scale[k] / DPI for k in (0, 1))
    text = f"{result.kernel.key}, {_sides(result)}. {_words(result)}"
    figure = framed("Principal components of the filters that make patches", text, height + 0.1)
    axes = axes_at(figure, LEFT, caption_height(text, page_width()), width, height)
    axes.imshow(image, interpolation="nearest", aspect="auto")
    axes.set_axis_off()
    return figure


def _picture(
    tile: Float32[np.ndarray, " channels *sides"],
) -> Float32[np.ndarray, "rows columns 3"]:
    """A tile as colours: of three channels as they are, of others their mean in grey.

    Frames of a video's filter stand side by side.
    """
    whole = tile if tile.ndim == RGB else tile.transpose(0, 2, 1, 3).reshape(*tile.shape[::2], -1)
    flat = whole.reshape(len(tile), whole.shape[1], -1)
    shown = flat if len(flat) == RGB else np.repeat(flat.mean(axis=0)[None], RGB, axis=0)
    low, high = float(shown.min()), float(shown.max())
    scaled = (shown - low) / (high - low) if high > low else np.full_like(shown, 0.5)
    return np.moveaxis(scaled, 0, -1).astype(np.float32)


def _sides(result: FiltersResult) -> str:
    return "×".join(map(str, result.kernel.values.shape))


def _words(result: FiltersResult) -> str:
    channels, count = result.kernel.values.shape[1], len(result.tiles)
    share = 100 * float(result.components.spectrum[:count].sum())
    text = _READING if channels == RGB else _GREY
    return text.format(first=1, last=count, share=share, channels=channels)


def _spectrum(result: FiltersResult) -> Figure:
    figure, inside = panel_figure("Spectrum of the filters", _SPECTRUM, HEIGHT)
    spectrum = result.components.spectrum
    numbers = np.arange(1, len(spectrum) + 1)
    left, right = inside.subplots(1, 2)
    left.plot(numbers, spectrum, color=PALETTE[0], linewidth=1.2)
    lined(left, "component", "share of variance")
    left.set_yscale("log")
    panel_title(left, "variance of the filters")
    right.plot(numbers, result.at_random, color=MUTED, linewidth=1.0, linestyle=(0, (4, 2)),
               label="random directions")  # fmt: skip
    if len(result.inside):
        right.plot(numbers, result.inside, color=PALETTE[1], linewidth=1.4, label="position table")
    right.legend(frameon=False, fontsize=7, loc="upper left")
    lined(right, "first components", "share of the table inside")
    right.set_ylim(0, 1.03)
    panel_title(right, "the position table in their span")
    return figure
