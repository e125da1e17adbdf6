"""Rotary schemes: where the frequencies lie, and how often they turn over the image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from pe_inspect.figures.layout.lines import lined, panel_figure, panel_title, reference
from pe_inspect.figures.layout.style import INK, PALETTE, color_scale, sequential

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

    from pe_inspect.analysis.structure import StructureResult
    from pe_inspect.analysis.structure.rotation import LayerRotation

__all__ = ["draw_rotation"]

HEIGHT: Final = 2.6
BINS: Final = 24
LEAST: Final = 1e-3  # turns
_READING: Final = (
    "Left: each angle of each head, in turns over the image along columns and rows, coloured by "
    "layer; outside of the dashed lines an angle turns by more than half a turn a patch, and is "
    "aliased. Middle: how many angles turn that often, along the axis on which they turn more. "
    "Right: how far the directions of a head's frequencies are along one line; a dot a head."
)


def draw_rotation(result: StructureResult) -> Figure:
    """Draw the scatter of frequencies, the histogram of turns, and the anisotropy by layer."""
    layers = [rotation for rotation in result.rotations if rotation.is_linear]
    text = f"{result.pe.headline}. {_READING}"
    figure, inside = panel_figure("How the angles turn", text, HEIGHT)
    parts: Any = inside.subfigures(1, 2, width_ratios=(1.1, 2))
    left, right = parts
    _scatter(left, layers)
    middle, last = right.subplots(1, 2)
    _turns(middle, result, layers)
    _directions(last, layers)
    return figure


def _scatter(inside: SubFigure, layers: Sequence[LayerRotation]) -> None:
    axes = inside.subplots(1, 1)
    for k, rotation in enumerate(layers):
        turns = np.nan_to_num(rotation.frequencies) * np.array(rotation.sides) / (2 * np.pi)
        drawn = axes.scatter(
            turns[..., -1].ravel(), turns[..., 0].ravel(), s=7, linewidths=0,
            c=np.full(turns[..., 0].size, float(k)), cmap=sequential(), vmin=0,
            vmax=max(len(layers) - 1, 1),
        )  # fmt: skip
    for side, upright in ((layers[0].sides[-1], True), (layers[0].sides[0], False)):
        low, high = axes.get_xlim() if upright else axes.get_ylim()
        for limit in (-side / 2, side / 2):
            if low <= limit <= high:
                reference(axes, limit, upright=upright)
    lined(axes, "turns over columns", "turns over rows")
    panel_title(axes, "frequencies")
    color_scale(inside, drawn, [axes], "layer")


def _turns(axes: Axes, result: StructureResult, layers: Sequence[LayerRotation]) -> None:
    shown = [("trained", layers)]
    if result.rotations_at_target:
        shown.append(("target", [r for r in result.rotations_at_target if r.is_linear]))
    found = {f"{name} {_grid(some)}": _most(some) for name, some in shown if some}
    ends = [max(min(values.min() for values in found.values()), LEAST),
            max(max(values.max() for values in found.values()), 2 * LEAST)]  # fmt: skip
    bins = np.geomspace(ends[0], 1.001 * ends[1], BINS).tolist()
    for colour, (label, values) in zip(PALETTE, found.items()):
        axes.hist(np.maximum(values, ends[0]), bins, histtype="step", color=colour, linewidth=1.2,
                  label=label)  # fmt: skip
    axes.set_xscale("log")
    lined(axes, "turns over the image", "angles")
    axes.legend(frameon=False, fontsize=6.5, loc="upper left", handlelength=1.2)
    panel_title(axes, "turns")


def _most(layers: Sequence[LayerRotation]) -> np.ndarray:
    return np.concatenate([np.nanmax(each.cycles, axis=-1).ravel() for each in layers])


def _grid(layers: Sequence[LayerRotation]) -> str:
    return "×".join(map(str, layers[0].sides))


def _directions(axes: Axes, layers: Sequence[LayerRotation]) -> None:
    for k, rotation in enumerate(layers):
        values = rotation.anisotropy
        axes.plot(np.full(len(values), k), values, linestyle="none", marker="o", markersize=3,
                  color=PALETTE[0], alpha=0.7)  # fmt: skip
    lined(axes, "layer", "anisotropy")
    axes.set_ylim(-0.03, 1.03)
    axes.tick_params(colors=INK)
    panel_title(axes, "one direction: 1")
