"""The indices by layer, with the stored table and the baselines as lines to compare with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

import numpy as np

from pe_inspect.figures.layout.lines import (
    layer_axis,
    layer_room,
    lined,
    marker_size,
    panel_title,
)
from pe_inspect.figures.layout.look import page_width
from pe_inspect.figures.layout.style import (
    MUTED,
    PALETTE,
    axes_at,
    caption_height,
    framed,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from pe_inspect.analysis.structure import StructureResult

__all__ = ["draw_indices"]

PANEL: Final = 1.4  # inches with its title, without the axis of layers
ABOVE: Final = 0.25
LEFT: Final = 0.58
GAP: Final = 0.06
COLUMNS: Final = 3
LEAST: Final = 1.6  # inches of a panel
_PANELS: Final[Mapping[str, tuple[str, Sequence[str]]]] = {
    "affinity and nearness": ("rank correlation", ("ssdc_l1", "ssdc_l2")),
    "what the offset explains": ("share of variance", ("translation_share",)),
    "half-radius": ("patches", ("half_radius",)),
    "steps outward that fall": ("share", ("monotone_share",)),
    "symmetry of the profile": ("correlation", ("mirror_x", "mirror_y", "transpose")),
    "rows, columns, interaction": (
        "share of the table",
        ("row_share", "column_share", "interaction_share"),
    ),
    "effective rank": ("directions", ("effective_rank",)),
}
_BASELINES: Final = {"shuffled": (0, (1, 1)), "random": (0, (4, 2)), "sincos2d": (0, (6, 1, 1, 1))}
_READING: Final = (
    "Lines: what each layer receives; what the scheme decides by its form is left out. A ring at "
    "the left: the stored table. Grey lines: the first index of the panel for the same rows at "
    "other places (dotted), random normal numbers (dashed) and the two-dimensional sine and cosine "
    "table (dash-dotted) of the same shape."
)


def draw_indices(result: StructureResult) -> Figure:
    """Draw a panel for each group of indices that some layer has."""
    rows = [row.indices.row() for row in result.all_rows]
    shown = {
        title: panel
        for title, panel in _PANELS.items()
        if any(_is_told(result, row, name) for row in rows for name in panel[1])
    }
    names = [row.name for row in result.all_rows]
    text = f"{result.pe.headline}. {_READING}"
    figure, panels = _panels(max(len(shown), 1), text, layer_room(names[1:]))
    for (title, (unit, indices)), axes in zip(shown.items(), panels):
        _draw(axes, names, rows, indices)
        for name, style in _BASELINES.items():
            _baseline(axes, result, name, indices[0], style)
        lined(axes, "", unit)
        layer_axis(axes, names[1:])
        axes.set_xlim(-1.5, len(names) - 1.5)
        panel_title(axes, title)
        if len(indices) > 1:
            _name_lines(axes)
    return figure


def _panels(count: int, text: str, below: float) -> tuple[Figure, list[Axes]]:
    """Panels at fixed places: matplotlib's own layout of seven takes longer than all the rest."""
    columns = max(min(COLUMNS, int(page_width() / LEAST)), 1)
    lines = -(-count // columns)
    figure = framed("Structure by layer", text, lines * (PANEL + below))
    foot, step = caption_height(text, page_width()), page_width() / columns
    panels = []
    for k in range(count):
        line, column = divmod(k, columns)
        bottom = foot + (lines - 1 - line) * (PANEL + below) + below
        box = (column * step + LEFT, bottom, step - LEFT - GAP, PANEL - ABOVE)
        panels.append(axes_at(figure, *box))
    return figure, panels


def _is_told(result: StructureResult, row: Mapping[str, float], index: str) -> bool:
    """Whether an index is there, and the form of the scheme leaves it open."""
    return bool(np.isfinite(row[index])) and index not in result.decided


def _draw(
    axes: Axes, names: Sequence[str], rows: Sequence[Mapping[str, float]], indices: Sequence[str]
) -> None:
    size = marker_size(len(names))
    for colour, index in zip(PALETTE, _different(rows, indices)):
        values = [row[index] for row in rows]
        label = index.replace("_share", "").replace("_", " ")
        axes.plot(range(len(rows) - 1), values[1:], color=colour, marker="o", markersize=size,
                  linewidth=1.2, label=label)  # fmt: skip
        axes.plot([-1], values[:1], color=colour, marker="o", markersize=4.5, fillstyle="none",
                  linestyle="none")  # fmt: skip


def _different(rows: Sequence[Mapping[str, float]], indices: Sequence[str]) -> list[str]:
    """The indices, without the second mirror image of a symmetric affinity: it is the first."""
    alike = all(np.allclose(row["mirror_x"], row["mirror_y"], equal_nan=True) for row in rows)
    return [index for index in indices if not (alike and index == "mirror_y")]


def _baseline(
    axes: Axes, result: StructureResult, name: str, index: str, style: tuple[object, ...]
) -> None:
    if name in result.baselines:
        value = result.baselines[name].row()[index]
        if np.isfinite(value):
            axes.axhline(value, color=MUTED, linewidth=0.9, linestyle=style, zorder=1)


def _name_lines(axes: Axes) -> None:
    axes.legend(frameon=False, fontsize=6.5, loc="best", handlelength=1.4, labelspacing=0.25,
                borderpad=0.2)  # fmt: skip
