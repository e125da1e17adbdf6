"""The table of vectors by place: principal components, colours, lengths, waves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
from matplotlib.colors import LogNorm, Normalize
from matplotlib.ticker import MaxNLocator

from pe_inspect.arrays import Float, Float32
from pe_inspect.figures.layout.lines import lined, panel_figure, panel_title
from pe_inspect.figures.layout.look import page_width
from pe_inspect.figures.layout.mosaics import fitted, plan
from pe_inspect.figures.layout.style import (
    DPI,
    INK,
    LABEL_SIZE,
    PALETTE,
    axes_at,
    caption_height,
    color_scale,
    diverging,
    framed,
    mark_missing,
    mosaic,
    sequential,
    tidy,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

    from pe_inspect.analysis.structure import StructureResult
    from pe_inspect.analysis.structure.layer_rows import StructureRow

__all__ = ["draw_colours", "draw_table"]

COMPONENTS: Final = 4
MAPS: Final = 1.9  # inches of a row of maps
LEFT: Final = 0.12  # inches, as the title's
NAMES: Final = 0.2
LEAST: Final = 1e-6  # of the energy: the foot of its scale
_TABLE: Final = (
    "Above: coordinates along the first principal components of the centred table, with their "
    "shares of its variance; one scale. Below: the length of each patch's vector; the share of the "
    "centred table's energy in each wave of its cosine transform, with that many half waves over "
    "the rows and columns; the share of the variance of every component."
)
_COLOURS: Final = (
    "Red, green and blue are the coordinates along the first three principal components of each "
    "row's centred table, each from its least to its greatest value, so that a colour has no unit. "
    "Places of one colour have like vectors."
)


def draw_table(result: StructureResult) -> Figure:
    """Draw the stored table's components, lengths and waves."""
    row = result.all_rows[0]
    text = f"{result.pe.headline}. {_TABLE}"
    figure, inside = panel_figure("The stored table by place", text, 2 * MAPS + 0.3)
    parts: Any = inside.subfigures(2, 1)
    above, below = parts
    _components(above, row)
    _pictures(below, row)
    return figure


def _components(inside: SubFigure, row: StructureRow) -> None:
    table = row.indices.of_table
    maps = [] if table is None else [_plane(values) for values in table.maps[:COMPONENTS]]
    shares = np.zeros(0) if table is None else table.spectrum
    limit = max((float(np.nanmax(np.abs(values))) for values in maps), default=1.0) or 1.0
    panels = inside.subplots(1, max(len(maps), 1), squeeze=False)[0]
    for k, (axes, values) in enumerate(zip(panels, maps)):
        image = _map(axes, values, diverging(), Normalize(-limit, limit))
        panel_title(axes, f"{k + 1}: {100 * shares[k]:.3g} %")
    color_scale(inside, image, list(panels), "coordinate, of the table's norm")


def _pictures(inside: SubFigure, row: StructureRow) -> None:
    table, found = row.table, row.indices.of_table
    if table is None or found is None:
        return
    parts: Any = inside.subfigures(1, 3)
    lengths, waves, spectrum = parts
    norms = _plane(table.norms)
    (axes,) = lengths.subplots(1, 1, squeeze=False)[0]
    image = _map(axes, norms, sequential(), Normalize(*_ends(norms)))
    panel_title(axes, "length of each vector")
    color_scale(lengths, image, [axes], "Euclidean norm")
    energy = _first_waves(table.waves)
    (axes,) = waves.subplots(1, 1, squeeze=False)[0]
    norm = LogNorm(LEAST, max(float(np.nanmax(energy, initial=LEAST)), 10 * LEAST))
    image = _map(axes, np.maximum(energy, LEAST), sequential(), norm)
    axes.set_xlabel("half waves over columns", size=LABEL_SIZE, color=INK, labelpad=2)
    axes.set_ylabel("half waves over rows", size=LABEL_SIZE, color=INK, labelpad=2)
    panel_title(axes, "energy by wave")
    color_scale(waves, image, [axes], "share of energy")
    (axes,) = spectrum.subplots(1, 1, squeeze=False)[0]
    shown = np.maximum(found.spectrum, LEAST)
    axes.plot(np.arange(1, len(shown) + 1), shown, color=PALETTE[0], linewidth=1.2)
    lined(axes, "component", "share of variance")
    axes.set(xscale="log", yscale="log", ylim=(LEAST, 1.5))
    panel_title(axes, f"effective rank {found.effective_rank:.3g}")


def _map(axes: Axes, values: np.ndarray, colours: Any, norm: Normalize) -> Any:
    image = axes.imshow(values, cmap=colours, norm=norm, interpolation="nearest", aspect="equal")
    tidy(axes)
    for one, count in zip((axes.yaxis, axes.xaxis), values.shape):
        one.set_major_locator(MaxNLocator(nbins=min(count, 4), integer=True, min_n_ticks=1))
    axes.set_xlabel("patch column", size=LABEL_SIZE, color=INK, labelpad=2)
    axes.set_ylabel("patch row", size=LABEL_SIZE, color=INK, labelpad=2)
    if not np.isfinite(values).all():
        mark_missing(axes)
    return image


def _ends(values: np.ndarray) -> tuple[float, float]:
    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _plane(values: Float[np.ndarray, "..."]) -> Float32[np.ndarray, "rows columns"]:
    """Frames of a row side by side."""
    return values.reshape(values.shape[0], -1).astype(np.float32)


def _first_waves(energy: Float32[np.ndarray, "..."]) -> Float32[np.ndarray, "rows columns"]:
    """The waves over rows and columns; those over frames are added up."""
    return energy if energy.ndim == 2 else energy.sum(axis=1)


def draw_colours(result: StructureResult) -> Figure:
    """Draw the first three components of every row of the table as colours, in one image."""
    rows = [row for row in result.all_rows if _colours(row) is not None]
    pictures = [picture for row in rows if (picture := _colours(row)) is not None]
    side = tuple(max(picture.shape[axis] for picture in pictures) for axis in (0, 1))
    planned = plan(len(pictures), lambda _: (side[0], side[1]), largest=int(1.5 * DPI))
    layouts = [
        mosaic([picture[..., k] for picture in pictures], planned.columns, gap=planned.gap,
               filling=1.0)
        for k in range(3)
    ]  # fmt: skip
    image = np.stack([layout.image for layout in layouts], axis=-1)
    height, width = (image.shape[k] * planned.scale[k] / DPI for k in (0, 1))
    text = f"{result.pe.headline}. {_COLOURS}"
    figure = framed("Principal components as colours", text, height + NAMES)
    axes = axes_at(figure, LEFT, caption_height(text, page_width()), width, height)
    axes.imshow(np.nan_to_num(image, nan=0.9), interpolation="nearest", aspect="auto")
    axes.set_axis_off()
    names, size = fitted([row.name for row in rows], width / planned.columns * 72)
    for name, (top, left) in zip(names, layouts[0].corners):
        axes.text(left - 0.5, top - 0.7, name, size=size, color=INK, va="bottom", parse_math=False)
    return figure


def _colours(row: StructureRow) -> Float32[np.ndarray, "rows columns 3"] | None:
    table = row.indices.of_table
    if table is None or not len(table.maps):
        return None
    colours = np.full((*_plane(table.maps[0]).shape, 3), 0.5, np.float32)
    for k, values in enumerate(table.maps[:3]):
        low, high = _ends(values)
        colours[..., k] = (_plane(values) - low) / (high - low)
    return colours
