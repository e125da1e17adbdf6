"""Methods of resampling side by side, and what they do to each spatial frequency."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from pe_inspect.figures.interpolate.words import edge, grids, method_name, route
from pe_inspect.figures.layout.lines import in_rows, key, key_height, lined, panel_figure, reference
from pe_inspect.figures.layout.style import INK, MUTED, PALETTE, TICK_SIZE, wrapped

if TYPE_CHECKING:
    from pe_inspect.analysis.interpolate import InterpolationResult
    from pe_inspect.analysis.interpolate.resampled import ResampledTable

__all__ = ["frequencies", "side_by_side"]

OF_TABLES: Final = (
    ("norm_ratio", "norm ratio", 1.0, 1.0),
    ("structure_correlation", "structure corr.", 1.0, 1.0),
    ("error_interior", "round trip (%)", 0.0, 100.0),
    ("difference_to_native", "off native (%)", 0.0, 100.0),
)
"""Measure, axis label, the value of an unchanged table, units in one."""

OF_ANGLES: Final = (
    ("structure_correlation", "structure corr.", 1.0, 1.0),
    ("neighbour_cosine_after", "neighbour cosine", None, 1.0),
    ("difference_to_native", "off native (%)", 0.0, 100.0),
)

NAMES: Final = 1.65  # inches of the widest line of names
ROW: Final = 0.22
LINE: Final = 0.115  # inches of one line of names
AXIS: Final = 0.5  # inches of the axes under all rows
LEAST: Final = 0.005
SPECTRUM: Final = 2.6  # inches
STYLES: Final = ("-", (0, (4, 1.5, 1, 1.5)))  # of curves that share a colour
FLOOR: Final = 1e-12  # of the largest power: what is below is rounding


def side_by_side(result: InterpolationResult) -> Figure:
    """Draw one row of dots for every plain method, under the names of all rules that are it."""
    groups = dict(_groups(result))
    text = _caption_of_methods(result)
    labels = [wrapped(name, NAMES, TICK_SIZE) for name in groups.values()]
    rows = np.array([max(ROW, LINE * (label.count("\n") + 1) + 0.07) for label in labels])
    places, height = np.cumsum(rows) - rows / 2, float(rows.sum())
    headline = f"{result.pe.family} · methods side by side · {grids(result)}"
    figure, inside = panel_figure(headline, text, height + AXIS)
    measures = OF_ANGLES if result.pe.scheme_kind.holds_angles else OF_TABLES
    panels = inside.subplots(1, len(measures), sharey=True)
    for axes, measure in zip(panels, measures):
        _measure_column(axes, result, list(groups), places, *measure)
    panels[0].set_yticks(places, labels)
    panels[0].set_ylim(height, 0)
    return figure


def _caption_of_methods(result: InterpolationResult) -> str:
    count, words = len(result.tables()), result.defined()
    means = f", means over {count} tables" if count > 1 else ""
    start = f"One row a method, with the libraries whose rule it is{means}. Dashed: unchanged. "
    structure = f"Structure: {words['structure_correlation']}. "
    native = f"Off native: {words['difference_to_native']}."
    if result.pe.scheme_kind.holds_angles:
        return f"{start}{structure}Neighbours: mean cosine of positions one patch apart. {native}"
    trip = (
        "Round trip: mean ‖back − source‖ of rows, in % of their mean norm; filled, interior; "
        f"open, {edge(result.tables()[0])}. "
    )
    return f"{start}Norm: mean row norm after / before. {structure}{trip}{native}"


def _measure_column(
    axes: Axes,
    result: InterpolationResult,
    names: Sequence[str],
    places: np.ndarray,
    measure: str,
    label: str,
    ideal: float | None,
    unit: float,
) -> None:
    lined(axes, label, "")
    axes.margins(x=0.08)  # room for whole dots
    values = _means(result, names, measure, unit)
    if ideal is None:
        ideal = result.means()["neighbour_cosine_before"]
    axes.plot(values, places, linestyle="none", marker="o", markersize=4.5, color=PALETTE[0])
    if measure == "error_interior":
        ring = _means(result, names, "error_border", unit)
        axes.plot(ring, places, linestyle="none", marker="o", markersize=4.5,
                  markerfacecolor="none", markeredgecolor=PALETTE[1])  # fmt: skip
    reference(axes, ideal, upright=True)
    low, high = axes.get_xlim()
    least = LEAST * unit  # rounding is not to be stretched into a difference
    axes.set_xlim(min(low, ideal - least), max(high, ideal + least))
    axes.xaxis.set_major_locator(MaxNLocator(3))
    axes.ticklabel_format(axis="x", useOffset=False)


def _groups(result: InterpolationResult) -> Iterator[tuple[str, str]]:
    """(one method of each plain kind, the names of all that come down to it)."""
    for plain in dict.fromkeys(result.rules.values()):
        same = [name for name in result.methods if result.rules[name] == plain]
        others = [name for name in same if name != plain]
        yield same[0], f"{plain} ({', '.join(others)})" if others else plain


def _means(
    result: InterpolationResult, names: Sequence[str], measure: str, unit: float
) -> list[float]:
    return [unit * result.means(name)[measure] for name in names]


def frequencies(result: InterpolationResult, table: int) -> dict[str, Figure]:
    """Draw what becomes of frequencies: of values over positions, or of rotary angles."""
    if result.pe.scheme_kind.holds_angles:
        return {"interpolate_frequencies": _angles(result, table)}
    return {"interpolate_spectrum": _spectrum(result, table)}


def _spectrum(result: InterpolationResult, table: int) -> Figure:
    done = result.tables()[table]
    text = (
        f"Fourier power of the table over positions, at each whole number of {_cycles(done)} "
        "(rings of |k|), as amplitudes squared, summed over channels: a method that only adds "
        "positions leaves the curve of the source as it is. Dashed: the highest frequency that "
        "the source grid can hold on both axes."
        + (" Thin and grey: all other methods." if len(set(result.rules.values())) > 1 else "")
    )
    headline = f"{result.pe.family} · {done.layer} · spectrum · {route(result, done)}"
    figure, inside = panel_figure(headline, text, SPECTRUM)
    axes = inside.subplots()
    lined(axes, _cycles(done), "power")
    for name in dict.fromkeys(result.methods):
        other = result.tables(name)[table]
        if other is not done:
            _curve(axes, other.spectra[1], color="#c4c6cc", linewidth=0.7, zorder=2)
    before, after = done.spectra
    _curve(axes, after, color=PALETTE[1], linewidth=1.6, label=method_name(result, result.method))
    _curve(axes, before, color=INK, linewidth=1.2, linestyle=(0, (5, 2)), label="source")
    sides = [side for side in done.before.shape[:2] if side > 1] or [1]
    reference(axes, min(sides) / 2, upright=True)
    _log_scale(axes)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.legend(fontsize=TICK_SIZE, frameon=False, loc="best")
    return figure


def _cycles(done: ResampledTable) -> str:
    """The unit of frequency: a table of offsets reaches over the image twice, less one patch."""
    return "cycles per table of offsets" if done.is_by_offset else "cycles per image"


def _curve(axes: Axes, power: np.ndarray, **look: Any) -> None:
    """Draw the power of all but the mean; what is rounding is left out."""
    cycles = np.arange(1, len(power))
    with np.errstate(invalid="ignore"):
        shown = np.where(power[1:] > FLOOR * np.nanmax(power, initial=0), power[1:], np.nan)
    axes.plot(cycles, shown, marker="o", markersize=2 if len(cycles) > 1 else 4, **look)


def _log_scale(axes: Axes) -> None:
    """Make the y axis logarithmic; say so where nothing is above zero."""
    drawn = np.concatenate([np.asarray(line.get_ydata(), float) for line in axes.lines[:-1]])
    if (drawn > 0).any():
        axes.set_yscale("log")
        return
    axes.text(0.5, 0.5, "nothing varies over positions", transform=axes.transAxes,
              ha="center", size=TICK_SIZE, color=MUTED)  # fmt: skip


def _angles(result: InterpolationResult, table: int) -> Figure:
    names, done = [name for name, _ in _groups(result)], result.tables()[table]
    text = (
        "How often each rotary angle turns over the image, before and after, angles in order of "
        "speed. One that turns less than half a cycle (dotted) tells all distances apart. Where a "
        "curve leaves that of the source, attention meets relations that it was not trained on."
    )
    headline = f"{result.pe.family} · {done.layer} · turns over the image · {grids(result)}"
    shown = [*(method_name(result, name) for name in names), "source"]
    figure, inside = panel_figure(headline, text, 2.45 + key_height(shown))
    panels = in_rows(inside, 2, sharey=True)
    for k, (axes, label) in enumerate(zip(panels, ("cycles per image", ""))):
        lined(axes, f"angle, by speed over {('rows', 'columns')[k]}", label)
        _turns(axes, result, names, table, k)
    key(inside, *panels)
    return figure


def _turns(
    axes: Axes, result: InterpolationResult, names: Sequence[str], table: int, axis: int
) -> None:
    """Draw the turns over rows (0) or columns (1): a curve a method, and the source."""
    for number, name in enumerate(names):
        lap, colour = divmod(number, len(PALETTE))
        axes.plot(result.tables(name)[table].turns[1][axis], color=PALETTE[colour], linewidth=1.1,
                  linestyle=STYLES[lap % len(STYLES)], label=method_name(result, name))  # fmt: skip
    before = result.tables()[table].turns[0][axis]
    axes.plot(before, color=INK, linestyle=(0, (5, 2)), linewidth=1.2, label="source")
    axes.axhline(0.5, color=MUTED, linewidth=0.8, linestyle=(0, (1, 2)))
    _log_scale(axes)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
