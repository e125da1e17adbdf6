"""Figures of a resampled embedding: norms, structure, what is lost, and methods side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from pe_inspect._typing import Float
from pe_inspect.figures import drawings
from pe_inspect.figures._lines import (
    from_zero,
    layer_axis,
    layer_room,
    lined,
    marker_size,
    reference,
)
from pe_inspect.figures._maps import Map, map_height, maps_row, outlined, spread
from pe_inspect.figures._style import (
    INK,
    LABEL_SIZE,
    PAGE_WIDTH,
    PALETTE,
    TICK_SIZE,
    axes_at,
    caption,
    caption_height,
    diverging,
    new_figure,
    sequential,
    title,
)

if TYPE_CHECKING:
    from pe_inspect.analysis._resampled import ResampledTable
    from pe_inspect.analysis.interpolate import InterpolationResult

__all__ = ["draw"]

LOST: Final = "‖back\u00a0−\u00a0source‖\u00a0/\u00a0‖source‖"  # not to be broken across lines
TITLE: Final = 0.36
LOWEST: Final = 2.1  # inches that the error profile needs for its label
MEASURES: Final = (
    ("norm_ratio", "norm after / before", 1.0, 1.0),
    ("structure_correlation", "structure correlation", 1.0, 1.0),
    ("error_interior", "round-trip error (%)", 0.0, 100.0),
)
"""Measure, axis label, the value of an unchanged table, units in one."""


@drawings.register("interpolate")
def draw(
    result: InterpolationResult, *, token: tuple[int, int] | None = None, table: int = 0
) -> dict[str, Figure]:
    """Draw one resampled table, its round trip, and, where there are several, all of them.

    Args:
        result: what `interpolate` answered with.
        token: the query patch of the cosine maps; the middle one by default.
        table: which of the tables to show as maps.

    Returns:
        `interpolate` and `interpolate_round_trip`; `interpolate_tables` where there are several
        tables, `interpolate_methods` where several methods were asked for.
    """
    figures = {
        "interpolate": _before_and_after(result, token, table),
        "interpolate_round_trip": _round_trip(result, table),
    }
    if len(result.tables()) > 1:
        figures["interpolate_tables"] = _tables(result)
    if len(result.methods) > 1:
        figures["interpolate_methods"] = _methods(result)
    return figures


def _before_and_after(
    result: InterpolationResult, token: tuple[int, int] | None, table: int
) -> Figure:
    done = result.tables()[table]
    query = result.query_maps(token, table=table)
    norms = (
        Map(done.norms_before, f"before · {_sides(done.before)}", done.is_bias),
        Map(done.norms_after, f"after · {_sides(done.after)}", done.is_bias),
    )
    row, column = query.token
    likeness = (
        Map(query.before, f"before · to patch ({row}, {column})"),
        Map(query.after, f"after · to patch ({query.token_after[0]}, {query.token_after[1]})"),
    )
    text = _caption(result, done)
    heights = [map_height(maps, PAGE_WIDTH) for maps in (norms, likeness)]
    figure = _figure(sum(heights) + 0.12, _headline(result, done), text)
    floor = caption_height(text, PAGE_WIDTH)
    quantity = "size of the bias" if done.is_bias else "L2 norm"
    maps_row(
        figure, norms, floor + heights[1] + 0.12, cmap=sequential(),
        norm=spread(norms[0].values, norms[1].values), label=quantity,
        axis="offset" if done.is_bias else "patch",
    )  # fmt: skip
    panels = maps_row(
        figure, likeness, floor, cmap=diverging(), norm=_signed(query.before, query.after, done),
        label="attention bias" if done.is_bias else "cosine similarity",
    )  # fmt: skip
    outlined(panels[0], query.token, likeness[0].values.shape)
    outlined(panels[1], query.token_after, likeness[1].values.shape)
    return figure


def _signed(before: np.ndarray, after: np.ndarray, done: ResampledTable) -> Normalize:
    if not done.is_bias:
        return Normalize(-1, 1)
    limit = spread(np.abs(before), np.abs(after), from_zero=True).vmax or 1.0
    return Normalize(-limit, limit)


def _round_trip(result: InterpolationResult, table: int) -> Figure:
    done = result.tables()[table]
    panel = Map(
        100 * done.error_map, f"error by {_place(done)} · {_sides(done.before)}", done.is_bias
    )
    text = (
        f"Resampled {_route(result, done)}, and back by the same method. Error: "
        f"‖back − source‖ of each position, in % of the mean row norm. Border: the outermost ring, "
        f"{_percent(done.measures['error_border'])}; interior: all others, "
        f"{_percent(done.measures['error_interior'])}. Over all, {LOST} is "
        f"{_percent(done.measures['round_trip_error'])}, and the mean cosine of a row with the row "
        f"that comes back {done.measures['round_trip_cosine']:.3f}."
    )
    width = PAGE_WIDTH * 0.55
    map_room = map_height((panel,), width)
    height = max(map_room, LOWEST)
    figure = _figure(height, f"{result.pe.family} · {done.layer} · what a round trip loses", text)
    floor = caption_height(text, PAGE_WIDTH)
    _error_map(figure, panel, floor + height - map_room, width)
    _error_profile(figure, done, floor, height, width)
    return figure


def _error_map(figure: Figure, panel: Map, floor: float, width: float) -> None:
    maps_row(
        figure, (panel,), floor, cmap=sequential(), norm=spread(panel.values, from_zero=True),
        label="error (% of mean norm)", axis="offset" if panel.centred else "patch", width=width,
    )  # fmt: skip


def _error_profile(
    figure: Figure, done: ResampledTable, floor: float, height: float, left: float
) -> None:
    axes = axes_at(figure, left + 0.72, floor + 0.42, PAGE_WIDTH - left - 0.92, height - 0.66)
    rings, interior = 100 * done.error_by_ring, 100 * done.measures["error_interior"]
    axes.plot(rings, color=PALETTE[0], marker="o", markersize=3.5, linewidth=1.2)
    if np.isfinite(interior):
        reference(axes, interior, label="mean of the interior")
        axes.legend(fontsize=TICK_SIZE, frameon=False, loc="best")
    axes.set_title("from edge to centre", size=LABEL_SIZE, color=INK, loc="left", pad=4)
    lined(axes, f"{_place(done, many=True)} between it and the edge", "mean error (% of mean norm)")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    from_zero(axes, rings)
    axes.set_xlim(-0.4, max(len(rings) - 0.6, 0.6))


def _tables(result: InterpolationResult) -> Figure:
    tables = result.tables()
    text = (
        "Norm: mean row norm after / before. Round-trip error: mean over the outermost ring "
        "(border) and over all other positions (interior), in % of the table's mean row norm."
    )
    headline = f"{result.pe.family} · every table · {_route(result, tables[0])}"
    names = [table.layer for table in tables]
    room = layer_room(names)
    figure = _figure(1.85 + room, headline, text)
    floor = caption_height(text, PAGE_WIDTH) + room
    ratio, error = (axes_at(figure, left, floor, 2.6, 1.75) for left in (0.75, 4.25))
    for axes, label in ((ratio, "norm after / before"), (error, "round-trip error (%)")):
        lined(axes, "", label)
        layer_axis(axes, names)
    _series(ratio, tables, "norm_ratio", "norm", PALETTE[0])
    reference(ratio, 1)
    border = _series(error, tables, "error_border", "border", PALETTE[1], unit=100.0)
    interior = _series(error, tables, "error_interior", "interior", PALETTE[0], unit=100.0)
    error.legend(fontsize=TICK_SIZE, frameon=False, loc="best")
    from_zero(error, border, interior)
    return figure


def _series(
    axes: Axes,
    tables: Sequence[ResampledTable],
    measure: str,
    label: str,
    colour: str,
    unit: float = 1.0,
) -> Float[np.ndarray, " tables"]:
    values = np.array([unit * table.measures[measure] for table in tables])
    axes.plot(
        values,
        color=colour,
        marker="o",
        linewidth=1.2,
        label=label,
        markersize=marker_size(len(values)),
    )
    return values


def _methods(result: InterpolationResult) -> Figure:
    names, count = result.methods, len(result.tables())
    text = (
        f"Norm: mean row norm after / before{f', mean over {count} tables' if count > 1 else ''}. "
        f"Structure correlation: {result.definitions['structure_correlation']}. Round-trip error, "
        "in % of the mean row norm: filled, interior; open, the outermost ring. Dashed: unchanged."
    )
    height = 0.22 * len(names) + 0.75
    route = _route(result, result.tables()[0], with_method=False)
    figure = _figure(height, f"{result.pe.family} · methods side by side · {route}", text)
    floor = caption_height(text, PAGE_WIDTH)
    for k, (measure, label, ideal, unit) in enumerate(MEASURES):
        axes = axes_at(figure, 1.0 + k * 2.02, floor + 0.45, 1.72, height - 0.55)
        lined(axes, label, "")
        _dots(axes, result, measure, colour=PALETTE[0], filled=True, unit=unit)
        if measure == "error_interior":
            _dots(axes, result, "error_border", colour=PALETTE[1], filled=False, unit=unit)
        reference(axes, ideal, upright=True)
        axes.set_yticks(range(len(names)), names if k == 0 else [""] * len(names))
        axes.set_ylim(len(names) - 0.5, -0.5)
        axes.xaxis.set_major_locator(MaxNLocator(3))
    return figure


def _dots(
    axes: Axes,
    result: InterpolationResult,
    measure: str,
    *,
    colour: str,
    filled: bool,
    unit: float,
) -> None:
    means = [unit * result.means(name)[measure] for name in result.methods]
    axes.plot(
        means, range(len(means)), linestyle="none", marker="o", markersize=5,
        markerfacecolor=colour if filled else "none", markeredgecolor=colour,
    )  # fmt: skip


def _figure(height: float, headline: str, text: str) -> Figure:
    figure = new_figure(PAGE_WIDTH, TITLE + height + caption_height(text, PAGE_WIDTH))
    title(figure, headline)
    caption(figure, text)
    return figure


def _headline(result: InterpolationResult, done: ResampledTable) -> str:
    return f"{result.pe.family} · {done.layer} · {_route(result, done)}"


def _caption(result: InterpolationResult, done: ResampledTable) -> str:
    measures, several = done.measures, len(result.tables()) > 1
    what = (
        "the size of an offset's bias over all heads"
        if done.is_bias
        else "the L2 norm of each patch's row"
    )
    like = (
        "the bias of the outlined query patch on every key patch, mean over heads"
        if done.is_bias
        else "the cosine of every patch's row with that of the outlined patch"
    )
    return (
        f"Above: {what}; its mean goes from {measures['norm_before']:.3g} to "
        f"{measures['norm_after']:.3g}, ×{measures['norm_ratio']:.2f}. Below: {like}; the "
        f"structure correlation is {measures['structure_correlation']:.3f}. "
        "Maps side by side share one scale."
        + (f" One of {len(result.tables())} tables is shown." if several else "")
    )


def _route(result: InterpolationResult, done: ResampledTable, *, with_method: bool = True) -> str:
    grid = done.before.shape[:2]
    source = tuple((side + 1) // 2 for side in grid) if done.is_bias else grid
    text = f"{source[0]}×{source[1]} → {result.grid_size[0]}×{result.grid_size[1]} patches"
    rule = result.rules[result.method]
    name = result.method if rule == result.method else f"{result.method} ({rule})"
    return f"{text} by {name}" if with_method else text


def _sides(table: np.ndarray) -> str:
    return f"{table.shape[0]}×{table.shape[1]}"


def _place(done: ResampledTable, *, many: bool = False) -> str:
    one, several = ("offset", "offsets") if done.is_bias else ("patch", "patches")
    return several if many else one


def _percent(value: float) -> str:
    return f"{100 * value:.1f} %" if np.isfinite(value) else "undefined"
