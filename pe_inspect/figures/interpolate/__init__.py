"""Figures of a resampled embedding: norms, structure, what is lost, and methods side by side."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from pe_inspect.arrays import Float
from pe_inspect.figures import drawings
from pe_inspect.figures.interpolate.methods import frequencies, side_by_side
from pe_inspect.figures.interpolate.words import edge, grids, method_name, percent, route
from pe_inspect.figures.layout.lines import (
    from_zero,
    in_rows,
    layer_axis,
    layer_room,
    lined,
    marker_size,
    panel_figure,
    panel_title,
    reference,
)
from pe_inspect.figures.layout.look import page_width
from pe_inspect.figures.layout.maps import Map, map_height, maps_row, outlined, spread
from pe_inspect.figures.layout.style import (
    MUTED,
    PALETTE,
    TICK_SIZE,
    caption_height,
    diverging,
    framed,
    sequential,
)
from pe_inspect.kinds.all_kinds import (
    BIAS,
    COMPUTED_BIAS,
    PHASES,
    RELATIVE,
    RESPONSE,
    VECTORS,
    SchemeKind,
)

if TYPE_CHECKING:
    from pe_inspect.analysis.interpolate import InterpolationResult
    from pe_inspect.analysis.interpolate.resampled import ResampledTable

__all__ = ["draw"]


class _MapWords(NamedTuple):
    """What the maps of a kind show.

    Attributes:
        affinity: the label of their scale.
        likeness: what the maps of one position are.
        size: what the maps above them are.
        query: what a position of the former is: a bias is drawn between patches.
    """

    affinity: str
    likeness: str
    size: str
    query: str = "patch"


_OF_ROWS: Final = _MapWords(
    "cosine similarity",
    "the cosine of every row with that of the outlined patch",
    "the L2 norm of each patch's row",
)
_OF_BIAS: Final = _MapWords(
    "attention bias",
    "the bias of the outlined query patch on every key patch, mean over heads",
    "the size of an offset's bias over all heads",
)
_MAP_WORDS: Final[Mapping[SchemeKind, _MapWords]] = {
    VECTORS: _OF_ROWS,
    BIAS: _OF_BIAS,
    PHASES: _MapWords(
        "mean phase cosine",
        "the mean over heads and angles of cos(θ_i − θ_j), with the outlined patch j",
        "",  # angles have no size
    ),
    RELATIVE: _MapWords(
        "cosine similarity",
        "the cosine of every row with that of the outlined entry",
        "the L2 norm of each offset's row",
        "entry",
    ),
    RESPONSE: _OF_ROWS,
    COMPUTED_BIAS: _OF_BIAS,
}
EXACT: Final = 1e-6  # of the mean norm: float32's rounding
TABLES: Final = 1.8  # inches of the panels over layers
LOWEST: Final = 2.1  # inches that the error profile needs for its label


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
        `interpolate`; `interpolate_spectrum`, of angles `interpolate_frequencies`;
        `interpolate_round_trip` where one loses anything; `interpolate_tables` where there are
        several tables, `interpolate_methods` where several methods were asked for.
    """
    figures = {
        "interpolate": _before_and_after(result, token, table),
        **frequencies(result, table),
    }
    if _is_lossy(result, table):
        figures["interpolate_round_trip"] = _round_trip(result, table)
    if len(result.tables()) > 1 and not result.pe.scheme_kind.holds_angles:
        figures["interpolate_tables"] = _over_tables(result)
    if len(result.methods) > 1:
        figures["interpolate_methods"] = side_by_side(result)
    return figures


def _is_lossy(result: InterpolationResult, table: int) -> bool:
    """Whether a round trip loses anything: computed values come back to the last digits."""
    if result.pe.scheme_kind.holds_angles:  # whose way back is exact, or there is none
        return False
    return not bool((result.tables()[table].error_map < EXACT).all())


def _before_and_after(
    result: InterpolationResult, token: tuple[int, int] | None, table: int
) -> Figure:
    done = result.tables()[table]
    words = _MAP_WORDS[done.kind]
    query = result.query_maps(token, table=table)
    likeness = tuple(
        Map(values, f"{when} · to {words.query} ({row}, {column})")
        for when, values, (row, column) in (
            ("before", query.before, query.token),
            ("after", query.after, query.token_after),
        )
    )
    text = _caption_of_maps(result, done)
    room = 0.0 if done.kind.holds_angles else map_height(_norms(done), page_width()) + 0.12
    height = map_height(likeness, page_width())
    figure = framed(_headline(result, done), text, room + height)
    floor = caption_height(text, page_width())
    if room:
        _draw_norms(figure, done, floor + height + 0.12)
    panels = maps_row(
        figure, likeness, floor, cmap=diverging(), norm=_signed(query.before, query.after, done),
        label=words.affinity, axis=words.query,
    )  # fmt: skip
    outlined(panels[0], query.token, likeness[0].values.shape)
    outlined(panels[1], query.token_after, likeness[1].values.shape)
    return figure


def _norms(done: ResampledTable) -> tuple[Map, ...]:
    return (
        Map(done.norms_before, f"before · {_sides(done.before)}", done.is_by_offset),
        Map(done.norms_after, f"after · {_sides(done.after)}", done.is_by_offset),
    )


def _draw_norms(figure: Figure, done: ResampledTable, bottom: float) -> None:
    norms = _norms(done)
    maps_row(
        figure, norms, bottom, cmap=sequential(), norm=spread(norms[0].values, norms[1].values),
        label="size of the bias" if done.is_bias else "L2 norm", axis=_place_word(done),
    )  # fmt: skip


def _signed(before: np.ndarray, after: np.ndarray, done: ResampledTable) -> Normalize:
    if not done.is_bias:
        return Normalize(-1, 1)
    limit = spread(np.abs(before), np.abs(after), from_zero=True).vmax or 1.0
    return Normalize(-limit, limit)


def _round_trip(result: InterpolationResult, table: int) -> Figure:
    done = result.tables()[table]
    panel = Map(
        100 * done.error_map,
        f"error by {_place_word(done)} · {_sides(done.before)}",
        done.is_by_offset,
    )
    text = (
        f"Resampled {route(result, done)}, and back by the same method. Error: "
        f"‖back − source‖ of each position, in % of the mean row norm. Border: {edge(done)}, "
        f"{percent(done.measures['error_border'])}; interior: all others, "
        f"{percent(done.measures['error_interior'])}; the mean of all, "
        f"{percent(done.measures['round_trip_error'])}. The mean cosine of a row with the row "
        f"that comes back is {done.measures['round_trip_cosine']:.3f}."
    )
    width = page_width() * 0.55
    map_room = map_height((panel,), width)
    height = max(map_room, LOWEST)
    words = f"{result.pe.family} · {done.layer} · what a round trip loses"
    figure, inside = panel_figure(words, text, height, left=width)
    _error_map(figure, panel, caption_height(text, page_width()) + height - map_room, width)
    _error_profile(inside.subplots(), done)
    return figure


def _error_map(figure: Figure, panel: Map, floor: float, width: float) -> None:
    maps_row(
        figure, (panel,), floor, cmap=sequential(), norm=spread(panel.values, from_zero=True),
        label="error (% of mean norm)", axis="offset" if panel.centred else "patch", width=width,
    )  # fmt: skip


def _error_profile(axes: Axes, done: ResampledTable) -> None:
    rings, interior = 100 * done.error_by_ring, 100 * done.measures["error_interior"]
    axes.plot(rings, color=PALETTE[0], marker="o", markersize=3.5, linewidth=1.2)
    if np.isfinite(interior):
        reference(axes, interior, label="mean of the interior")
        axes.legend(fontsize=TICK_SIZE, frameon=False, loc="best")
    panel_title(axes, "from edge to centre")
    lined(
        axes,
        f"{_place_word(done, many=True)} between it and the edge",
        "mean error (% of mean norm)",
    )
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    from_zero(axes, rings)
    axes.set_xlim(-0.4, max(len(rings) - 0.6, 0.6))


def _over_tables(result: InterpolationResult) -> Figure:
    tables = result.tables()
    text = (
        f"Norm: mean row norm after / before. Round-trip error: mean over {edge(tables[0])} "
        "(border) and over all other positions (interior), in % of the table's mean row norm."
    )
    way = f"{grids(result)} by {method_name(result, result.method)}"
    headline = f"{result.pe.family} · every table · {way}"
    names = [table.layer for table in tables]
    figure, inside = panel_figure(headline, text, TABLES + layer_room(names))
    ratio, error = in_rows(inside, 2)
    for axes, label in ((ratio, "norm after / before"), (error, "round-trip error (%)")):
        lined(axes, "", label)
        layer_axis(axes, names)
    _series(ratio, tables, "norm_ratio", "norm", PALETTE[0])
    reference(ratio, 1)
    border = _series(error, tables, "error_border", "border", PALETTE[1], unit=100.0)
    interior = _series(error, tables, "error_interior", "interior", PALETTE[0], unit=100.0)
    error.legend(fontsize=TICK_SIZE, frameon=False, loc="best")
    from_zero(error, border, interior)
    if (np.stack([border, interior]) < 100 * EXACT).all():
        error.text(0.5, 0.5, "a round trip loses nothing", transform=error.transAxes, ha="center",
                   size=TICK_SIZE, color=MUTED)  # fmt: skip
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


def _headline(result: InterpolationResult, done: ResampledTable) -> str:
    return f"{result.pe.family} · {done.layer} · {route(result, done)}"


def _caption_of_maps(result: InterpolationResult, done: ResampledTable) -> str:
    measures, words = done.measures, _MAP_WORDS[done.kind]
    ratio = measures["norm_ratio"]
    times = f", ×{ratio:.2f}," if math.isfinite(ratio) else ""
    above = (
        f"Above: {words.size}; its mean goes from {measures['norm_before']:.3g} to "
        f"{measures['norm_after']:.3g}{times} "
        f"and {percent(measures['low_norm_share'])} of the new rows are shorter than every old "
        "one. Below: "
    )
    shown = len(result.tables())
    return (
        f"{'Shown: ' if done.kind.holds_angles else above}{words.likeness}; the structure "
        f"correlation is "
        f"{measures['structure_correlation']:.3f}. Maps side by side share one scale."
        + (f" One of {shown} tables is shown." if shown > 1 else "")
    )


def _sides(table: np.ndarray) -> str:
    return f"{table.shape[0]}×{table.shape[1]}"


def _place_word(done: ResampledTable, *, many: bool = False) -> str:
    one, several = ("offset", "offsets") if done.is_by_offset else ("patch", "patches")
    return several if many else one
