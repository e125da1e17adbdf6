"""Several embeddings side by side: one patch's maps, a row an embedding, and their numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from pe_inspect.figures import drawings
from pe_inspect.figures.layout.lines import in_rows, lined, panel_figure, panel_title
from pe_inspect.figures.layout.mosaics import Words
from pe_inspect.figures.layout.rows import Row, draw_rows, evenly, legible, thinned_to
from pe_inspect.figures.layout.style import PALETTE, TICK_SIZE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from pe_inspect.analysis.compare import CompareResult
    from pe_inspect.analysis.compare.deltas import Index
    from pe_inspect.analysis.compare.side_by_side import SideBySide

__all__ = ["draw", "told_notions"]

MOST_LAYERS: Final = 6
MOST_ROWS: Final = 12
ROW_HEIGHT: Final = 0.75  # inches of a row of panels, beside one line for each group
LINE: Final = 0.17  # inches
LONGEST: Final = 26  # letters of a name beside the panels
_NOTIONS: Final = {
    "joined": "Joined, as the model computes it for the layer",
    "proxy": "Proxy, LN1 of the layer on the table",
    "stored": "Stored, the table itself before any norm",
}


@drawings.register("compare")
def draw(result: CompareResult, *, token: tuple[int, int] | None = None) -> dict[str, Figure]:
    """Draw a comparison.

    Args:
        result: what `compare` answered.
        token: (row, column) of the query patch; default the result's own.

    Returns:
        `compare`: one patch's map, a row for every embedding and a column for each of a few
        matched layers, on one scale; `compare_numbers`: every number that has a definition, a
        point for each embedding, those of one recipe's seeds on one line; left out where no
        number is defined.
    """
    maps = {"compare": _maps(result.side, token)}
    return {**maps, "compare_numbers": _numbers(result)} if result.indices else maps


def told_notions(side: SideBySide) -> str:
    """Say whose maps are joined, whose are proxies, and whose are stored."""
    met = side.of_notion().items()
    return " ".join(f"{_NOTIONS[notion]}: {', '.join(names)}." for notion, names in met)


def _maps(side: SideBySide, token: tuple[int, int] | None) -> Figure:
    columns = evenly(len(side.layers[0]), MOST_LAYERS)
    shown = [side.drawn[k] for k in evenly(len(side.drawn), MOST_ROWS)]
    rows = [
        Row(
            side.labels[k],
            [maps[column] for column in columns],
            side.names(k, columns),
            patch,
        )
        for k, (maps, patch) in enumerate(side.query_maps(token))
        if k in shown
    ]
    return draw_rows(rows, side.scale, _words_around(side, len(columns), len(shown)))


def _words_around(side: SideBySide, columns: int, rows: int) -> Words:
    centre, limit = side.scale
    height, width = side.grid_size
    names = list(dict.fromkeys(side.quantities[k] for k in side.drawn))
    about, less = (f" {word} {centre:.3g}" if centre else "" for word in ("about", "less"))
    others = [label for k, label in enumerate(side.labels) if k not in side.drawn]
    absent = f"Not on this scale: {', '.join(others)}. " if others else ""
    text = (
        f"All on {height}×{width} patches; a column is a depth. The query patch is outlined. "
        f"{thinned_to(columns, len(side.layers[0]), 'layers')}"
        f"{thinned_to(rows, len(side.drawn), 'embeddings')}"
        f"{absent}"
        f"{told_notions(side)} One scale, −{limit:.3g} to {limit:.3g}{about}."
    )
    name = names[0] if len(names) == 1 else "affinity"
    heading = f"{name[0].upper()}{name[1:]} of one patch with every other, side by side"
    return Words(heading, text, "layer", "", f"{name}{less}")


def _numbers(result: CompareResult) -> Figure:
    """Draw a panel a number: a line a group, a point an embedding."""
    groups = list(dict.fromkeys(result.groups))
    shown = [groups[k] for k in evenly(len(groups), 2 * MOST_ROWS)]
    indices = result.indices
    height = ROW_HEIGHT + LINE * len(shown)
    seeds = "A point is a seed; a line is a recipe. " if len(groups) < len(result.groups) else ""
    text = (
        f"{seeds}Means over the layers of each, where a number is of "
        f"layers. {thinned_to(len(shown), len(groups), 'lines')}Numbers describe: more is not "
        "better."
    )
    figure, inside = panel_figure("Numbers, side by side", text, height)
    panels = in_rows(inside, len(indices), sharey=True)
    for axes, (name, index) in zip(panels, indices.items()):
        _panel(axes, result, shown, name, index)
    return figure


def _panel(axes: Axes, result: CompareResult, groups: list[str], name: str, index: Index) -> None:
    lined(axes, index.unit, "")
    panel_title(axes, index.words)
    places: Mapping[str, int] = {group: k for k, group in enumerate(groups)}
    for label, group, numbers in zip(result.labels, result.groups, result.numbers):
        if group in places:
            colour = PALETTE[places[group] % len(PALETTE)]
            axes.plot(numbers[name], places[group], "o", color=colour, alpha=0.75, markersize=4.5,
                      markeredgewidth=0, gid=label)  # fmt: skip
    axes.set_yticks(range(len(groups)), [legible(_cut(group)) for group in groups])
    for text in axes.get_yticklabels():
        text.set(parse_math=False)
    axes.set_ylim(len(groups) - 0.5, -0.5)
    axes.tick_params(labelsize=TICK_SIZE)


def _cut(name: str) -> str:
    return name if len(name) <= LONGEST else f"{name[: LONGEST - 1]}…"
