"""Accuracy over resolutions, a line a method; and with positions changed, a bar a condition."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pe_inspect.figures import drawings
from pe_inspect.figures.layout.lines import in_rows, key, lined, panel_figure, reference
from pe_inspect.figures.layout.style import INK, MUTED, PALETTE, TICK_SIZE

if TYPE_CHECKING:
    from pe_inspect.analysis.evaluate import EvaluationResult, EvaluationRow

__all__ = ["draw"]

HEIGHT: Final = 2.9  # inches of the curves
BAR: Final = 0.3  # inches of one
AXIS: Final = 0.55  # inches of the bars' axis, its label and the ends
DASHES: Final = ("-", (0, (5, 1.5)), (0, (1.2, 1.2)))
MARKERS: Final = "os^Dv<>P"
IN_PERCENT: Final = 100.0
CHANCE: Final = "chance"


@drawings.register("evaluate")
def draw(result: EvaluationResult) -> dict[str, Figure]:
    """Draw what there is: curves where there are several sizes, bars where there are ablations.

    Args:
        result: what `evaluate` answered with.

    Returns:
        `"evaluate"` (curves, or bars where there is one size) and, beside curves,
        `"evaluate_ablations"`.
    """
    if len(result.sizes) < 2:
        return {"evaluate": bars(result)}
    figures = {"evaluate": curves(result)}
    return {**figures, "evaluate_ablations": bars(result)} if result.ablations[1:] else figures


def curves(result: EvaluationResult) -> Figure:
    """Draw top-1 against the image size, one line a method."""
    text = (
        f"Top-1 on {_images(result)} Images are resized by bicubic interpolation, antialiased. "
        "Band: 95 % interval of the model's own rule (Wilson); whiskers: 95 % interval of the "
        "difference on the same images (Newcombe). At the model's own size "
        f"({_sized(result.plain)}) all are one. {_chance(result)}"
    )
    words = f"{_subject(result)}accuracy at other resolutions"
    figure, inside = panel_figure(words, text, HEIGHT)
    whole, apart = in_rows(inside, 2)
    lined(whole, "image size (pixels)", "top-1 (%)")
    lined(apart, "image size (pixels)", "over the model's own rule (points)")
    for k, method in enumerate(_own_first(result.methods)):
        _line(whole, result, method, k)
        _line(apart, result, method, k, over=_own_rule(result))
    _dotted(whole, result, upright=False)
    for axes in (whole, apart):
        _size_ticks(axes, result)
    key(inside, apart, beside=True)
    return figure


def bars(result: EvaluationResult) -> Figure:
    """Draw top-1 of every condition at the model's own size, with its interval."""
    rows = result.ablations
    text = (
        f"Top-1 on {_images(result)} Whiskers: 95 % intervals (Wilson). Scaled, shuffled and "
        "removed act on what the model receives of the position embedding; prefix tokens keep "
        "theirs. Shuffled: every patch is told the place of another, the same for all images. "
        "Patches permuted (RPI): the patches of each image trade places anew. Dashed: the plain "
        f"model. {_chance(result)}"
    )
    words = f"{_subject(result)}accuracy with positions changed"
    figure, inside = panel_figure(words, text, BAR * len(rows) + AXIS)
    axes = inside.subplots()
    lined(axes, "top-1 (%)", "")
    values = _in_percent(rows)
    places = np.arange(len(rows))
    axes.barh(places, values, 0.62, xerr=_reach(rows), color=[INK, *[PALETTE[0]] * (len(rows) - 1)],
              error_kw={"ecolor": MUTED, "elinewidth": 1.0, "capsize": 2})  # fmt: skip
    axes.set_yticks(places, [row.name for row in rows])
    axes.set(ylim=(len(rows) - 0.5, -0.5), xlim=(0, 100))
    axes.grid(visible=False, axis="y")
    for place, row in enumerate(rows):
        axes.text(1.01, place, f"{row.top1:.1%}", transform=axes.get_yaxis_transform(),
                  size=TICK_SIZE, color=INK, va="center")  # fmt: skip
    reference(axes, values[0], upright=True)
    _dotted(axes, result, upright=True)
    return figure


def _own_rule(result: EvaluationResult) -> dict[float, float]:
    """Return top-1 in percent by the model's own rule at each place of the axis."""
    rows = _through_own_size(result, "native")
    return {_place_on_axis(row): row.top1 * IN_PERCENT for row in rows}


def _line(
    axes: Axes,
    result: EvaluationResult,
    method: str,
    index: int,
    over: Mapping[float, float] | None = None,
) -> None:
    """Draw one method: its accuracy, or what it is over that of the model's own rule."""
    rows = _through_own_size(result, method)
    values = _in_percent(rows)
    places = [_place_on_axis(row) for row in rows]
    is_own = method == "native"
    if over is not None:
        values = values - np.array([over.get(place, np.nan) for place in places])
        _whiskers(axes, places, rows)
    axes.plot(
        places, values, **_look(index, is_own=is_own), zorder=4 if is_own else 3,
        label="native (own rule)" if is_own else method,
    )  # fmt: skip
    if is_own and over is None:
        below, above = _reach(rows)
        axes.fill_between(places, values - below, values + above, color=INK, alpha=0.12, lw=0)


def _whiskers(axes: Axes, places: Sequence[float], rows: Sequence[EvaluationRow]) -> None:
    """Draw the intervals of what a method is over the own rule, where it was compared with it."""
    for place, row in zip(places, rows):
        if row.over_native is not None:
            ends = IN_PERCENT * np.array(row.over_native.interval)
            axes.plot([place, place], ends, color=MUTED, linewidth=0.5, zorder=2)


def _look(index: int, *, is_own: bool) -> dict[str, Any]:
    """Return a line's colour, dashes and marker: told apart without colour too."""
    if is_own:
        return {"color": INK, "linewidth": 1.8, "marker": "o", "markersize": 3.2}
    turn, colour = divmod(index - 1, len(PALETTE))
    return {
        "color": PALETTE[colour], "linewidth": 1.0, "linestyle": DASHES[turn % len(DASHES)],
        "marker": MARKERS[index % len(MARKERS)], "markersize": 3.2,
    }  # fmt: skip


def _through_own_size(result: EvaluationResult, method: str) -> list[EvaluationRow]:
    """Add the plain model's row to a method's: at its own size every method is the identity."""
    rows = [row for row in result.curve(method) if row is not result.plain]
    return sorted([*rows, result.plain], key=_place_on_axis)


def _in_percent(rows: Sequence[EvaluationRow]) -> np.ndarray:
    return IN_PERCENT * np.array([row.top1 for row in rows])


def _reach(rows: Sequence[EvaluationRow]) -> np.ndarray:
    """How far intervals reach below and above top-1, in points: (2, rows)."""
    ends = IN_PERCENT * np.array([row.interval for row in rows]).T
    values = _in_percent(rows)
    return np.asarray(np.maximum([values - ends[0], ends[1] - values], 0))


def _place_on_axis(row: EvaluationRow) -> float:
    """Where a size lies on the axis: the side of the square of as many pixels."""
    return float(np.sqrt(row.res[0] * row.res[1]))


def _size_ticks(axes: Axes, result: EvaluationResult) -> None:
    rows = {_place_on_axis(row): row for method in result.methods for row in result.curve(method)}
    labels = [_sized(row) for row in rows.values()]
    axes.set_xticks(list(rows), labels)
    own = _place_on_axis(result.plain)
    reference(axes, own, upright=True)


def _sized(row: EvaluationRow) -> str:
    height, width = row.res
    return str(height) if height == width else f"{height}×{width}"


def _own_first(methods: Sequence[str]) -> list[str]:
    return sorted(methods, key=lambda method: method != "native")


def _dotted(axes: Axes, result: EvaluationResult, *, upright: bool) -> None:
    """Draw the accuracy of a guess among classes of one size."""
    draw_line = axes.axvline if upright else axes.axhline
    draw_line(IN_PERCENT / result.num_classes, color=MUTED, lw=0.8, ls=(0, (1, 2)), gid=CHANCE)


def _chance(result: EvaluationResult) -> str:
    return f"Dotted: 1/{result.num_classes} of the classes."


def _images(result: EvaluationResult) -> str:
    return f"{result.plain.count:,} {result.images}."


def _subject(result: EvaluationResult) -> str:
    return "" if result.pe is None else f"{result.pe.family} · join={result.pe.join} · "
