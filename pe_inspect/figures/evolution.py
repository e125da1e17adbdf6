"""Pictures of a run over time: its curves, and the map of one patch from snapshot to snapshot."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from pe_inspect.figures import drawings
from pe_inspect.figures.layout.lines import (
    from_zero,
    in_rows,
    key,
    lined,
    marker_size,
    panel_figure,
    reference,
)
from pe_inspect.figures.layout.look import page_width
from pe_inspect.figures.layout.mosaics import Words
from pe_inspect.figures.layout.rows import Row, draw_rows, evenly, thinned_to
from pe_inspect.figures.layout.style import INK, PALETTE, TICK_SIZE, sequential

if TYPE_CHECKING:
    from pe_inspect.analysis.evolution import EvolutionResult

__all__ = ["draw"]

MOST_EPOCHS: Final = 8
MOST_LAYERS: Final = 4
MOST_LINES: Final = 12
HEIGHT: Final = 2.25  # inches
WIDE: Final = 5.0  # inches: from there on a key has room beside the panels


class _Line(NamedTuple):
    """One curve: which number, what it is called, and how it is drawn."""

    number: str
    name: str
    style: str
    marker: str


_PANELS: Final[tuple[tuple[str, tuple[_Line, ...]], ...]] = (
    (
        "{affinity}",
        (_Line("neighbours", "share an edge", "-", "o"), _Line("far", "far", "--", "s")),
    ),
    (
        "likeness to the last",
        (
            _Line("structure_to_last", "maps", "-", "o"),
            _Line("cosine_to_last", "stored values", "--", "s"),
        ),
    ),
    ("{norm}", (_Line("norm", "", "-", "o"),)),
)


_INDICES: Final = (
    ("ssdc_l1", "SSDC, L1"),
    ("half_radius", "half-radius (patches)"),
    ("translation_share", "translation share"),
    ("interaction_share", "interaction share"),
    ("effective_rank", "effective rank"),
    ("hierarchy", "hierarchy over layers"),
)


@drawings.register("evolution")
def draw(result: EvolutionResult, *, token: tuple[int, int] | None = None) -> dict[str, Figure]:
    """Draw a run over time.

    Args:
        result: what `evolution` answered.
        token: (row, column) of the query patch; default the result's own.

    Returns:
        `evolution`: the numbers of every snapshot; `evolution_maps`: the map of one patch, a row
        for each of a few layers and a column for each of a few snapshots, on one scale;
        `evolution_structure`: the indices of structure, a line for each of a few layers, left
        out where none is defined.
    """
    shown = {"evolution": _curves(result), "evolution_maps": _maps(result, token)}
    panels = [panel for panel in _INDICES if np.isfinite(_values(result, panel[0])).any()]
    return {**shown, "evolution_structure": _structure(result, panels)} if panels else shown


def _curves(result: EvolutionResult) -> Figure:
    text = (
        f"{result.pe.headline}. {len(result.epochs)} snapshots; numbers of maps are means over "
        "layers, the band reaches from the least to the greatest layer. Far: at least half the "
        "grid apart."
    )
    figure, inside = panel_figure("The position embedding over one run", text, HEIGHT)
    words = {"affinity": result.affinity.name, "norm": _norm_name(result)}
    most = len(_PANELS) if page_width() >= WIDE else 1
    for axes, (name, lines) in zip(in_rows(inside, len(_PANELS), most=most), _PANELS):
        _panel(axes, result, name.format(**words), lines)
    return figure


def _norm_name(result: EvolutionResult) -> str:
    return "mean row norm" if result.pe.scheme_kind.has_row_vectors else "RMS of the values"


def _panel(axes: Axes, result: EvolutionResult, name: str, lines: Sequence[_Line]) -> None:
    lined(axes, "epoch", name)
    for line, colour in zip(lines, PALETTE):
        curve = result.curve(line.number)
        size = marker_size(len(curve))
        axes.plot(
            result.epochs, curve, color=colour, linewidth=1.4, linestyle=line.style,
            marker=line.marker, markersize=size, label=line.name,
        )  # fmt: skip
        _band(axes, result, line.number, colour)
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    if len(lines) > 1:
        reference(axes, 0)
        axes.legend(
            loc="lower left", bbox_to_anchor=(-0.02, 1.0), ncols=2, frameon=False,
            fontsize=TICK_SIZE, handlelength=2.2, columnspacing=1.0, borderaxespad=0.2,
        )  # fmt: skip
    else:
        from_zero(axes, result.curve(lines[0].number))


def _band(axes: Axes, result: EvolutionResult, number: str, colour: str) -> None:
    if number in result.stored[0] or len(result.views) < 2:
        return
    layers = np.ma.masked_invalid(result.by_layer(number))
    low, high = layers.min(axis=1), layers.max(axis=1)
    axes.fill_between(result.epochs, low, high, color=colour, alpha=0.18, linewidth=0)


def _structure(result: EvolutionResult, panels: Sequence[tuple[str, str]]) -> Figure:
    """Draw a panel an index, a line a layer: dark is early, light is late."""
    layers = evenly(len(result.views), MOST_LINES)
    text = (
        f"{result.pe.headline}. As `structure` defines them, of the mean over heads. A line is a "
        f"layer. {thinned_to(len(layers), len(result.views), 'layers')}"
    )
    figure, inside = panel_figure("Structure over one run, layer by layer", text, HEIGHT)
    drawn = in_rows(inside, len(panels), most=len(_PANELS))
    for axes, (name, label) in zip(drawn, panels):
        _lines_of_layers(axes, result, _values(result, name), label, layers)
    key(inside, drawn[0], beside=page_width() >= WIDE)
    return figure


def _values(result: EvolutionResult, name: str) -> np.ndarray:
    """One number over time: (snapshots, layers), or (snapshots, 1) where it is of all layers."""
    return result.curve(name)[:, None] if name == "hierarchy" else result.by_layer(name)


def _lines_of_layers(
    axes: Axes, result: EvolutionResult, values: np.ndarray, label: str, layers: Sequence[int]
) -> None:
    lined(axes, "epoch", label)
    is_one = values.shape[1] == 1
    for k in [0] if is_one else layers:
        colour = INK if is_one else sequential()(0.9 * k / max(len(result.views) - 1, 1))
        axes.plot(
            result.epochs, values[:, k], color=colour, linewidth=1.3, marker="o",
            markersize=0.8 * marker_size(len(values)), label=result.views[k].name,
        )  # fmt: skip
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))


def _maps(result: EvolutionResult, token: tuple[int, int] | None) -> Figure:
    epochs = evenly(len(result.epochs), MOST_EPOCHS)
    layers = evenly(len(result.views), MOST_LAYERS)
    chosen = token or result.similarities[-1].token
    names = [str(result.epochs[k]) for k in epochs]
    rows = [
        Row(view.name, [values[k] for k in epochs], names, chosen or view.middle)
        for place, (view, values) in enumerate(result.query_maps(token))
        if place in layers
    ]
    return draw_rows(rows, result.scale, _words_around_maps(result, len(epochs), len(layers)))


def _words_around_maps(result: EvolutionResult, epochs: int, layers: int) -> Words:
    centre, limit = result.scale
    about, less = (f" {word} {centre:.3g}" if centre else "" for word in ("about", "less"))
    text = (
        f"{result.pe.headline}. Above each map its epoch; a row is a layer. The query patch is "
        f"outlined. {thinned_to(epochs, len(result.epochs), 'snapshots')}"
        f"{thinned_to(layers, len(result.views), 'layers')}"
        f"One scale, −{limit:.3g} to {limit:.3g}{about}."
    )
    heading = f"{result.affinity.name} of one patch with every other, epoch by epoch"
    name = f"{result.affinity.name}{less}"
    return Words(heading[0].upper() + heading[1:], text, "epoch", "", name)
