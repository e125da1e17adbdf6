"""Every head of a scheme inside attention: by offset, and by distance."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from pe_inspect.figures.layout.lines import key, key_height, lined, panel_figure, panel_title
from pe_inspect.figures.layout.mosaics import Words
from pe_inspect.figures.layout.rows import Row, draw_rows, evenly, thinned_to
from pe_inspect.figures.layout.style import PALETTE
from pe_inspect.figures.structure.profiles import plane_of, scale_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from pe_inspect.analysis.structure import StructureResult
    from pe_inspect.analysis.structure.heads import HeadProfiles

__all__ = ["draw_distances", "draw_heads"]

MOST_LAYERS: Final = 12
MOST_HEADS: Final = 12
COLUMNS: Final = 4
PANEL: Final = 1.5
_STYLES: Final = ("-", "--")


def draw_heads(result: StructureResult) -> Figure:
    """Draw the profile by offset of every head, a layer a row."""
    layers = _shown(result)
    heads = evenly(max(len(layer.profile) for layer in layers), MOST_HEADS)
    maps = [plane_of(profile) for layer in layers for profile in layer.profile]
    scale = scale_of(maps, result.pe.affinity.limit)
    rows = [Row(layer.layer, *_maps(layer, heads), _middle(layer)) for layer in layers]
    name = result.pe.affinity.name
    words = Words(
        f"{name[0].upper()}{name[1:]} by offset, head by head",
        f"{result.pe.headline}. {_thinned(result, layers)}"
        f"{thinned_to(len(heads), max(len(one.profile) for one in layers), 'heads')}"
        "The mean over pairs by the offset of the key from the query; offset 0, in the middle, is "
        "outlined. Down and right are positive.",
        "offset in columns, heads side by side",
        "",
        name,
    )
    return draw_rows(rows, scale, words)


def _maps(layer: HeadProfiles, heads: list[int]) -> tuple[list[np.ndarray], list[str]]:
    """The maps of a row, and their names; a head that the layer lacks is empty."""
    empty = np.full(plane_of(layer.profile[0]).shape, np.nan, np.float32)
    maps = [plane_of(layer.profile[k]) if k < len(layer.profile) else empty for k in heads]
    return maps, [f"head {k}" for k in heads]


def _middle(layer: HeadProfiles) -> tuple[int, int]:
    rows, columns = plane_of(layer.profile[0]).shape
    return rows // 2, columns // 2


def draw_distances(result: StructureResult) -> Figure:
    """Draw the profile by distance of every head, a layer a panel."""
    layers = _shown(result)
    lines = -(-len(layers) // COLUMNS)
    heads = [f"head {k}" for k in range(max(len(layer.profile) for layer in layers))]
    named = heads[: 2 * len(PALETTE)]
    height = lines * (PANEL + 0.35) + key_height(named)
    text = (
        f"{result.pe.headline}. {_thinned(result, layers)}The mean over pairs of patches that are "
        "as far apart, over all distinct Euclidean distances. Beyond twelve heads colours repeat."
    )
    name = result.pe.affinity.name
    figure, inside = panel_figure(f"{name[0].upper()}{name[1:]} by distance", text, height)
    panels = inside.subplots(lines, COLUMNS, squeeze=False, sharex=True, sharey=True)
    for layer, axes in zip(layers, panels.ravel()):
        for k, values in enumerate(layer.by_distance):
            axes.plot(layer.distances, values, color=PALETTE[k % len(PALETTE)], linewidth=1.0,
                      linestyle=_STYLES[k // len(PALETTE) % 2],
                      label=heads[k] if k < len(named) else None)  # fmt: skip
        lined(axes, "distance in patches", name)
        axes.label_outer()
        panel_title(axes, layer.layer)
    for axes in panels.ravel()[len(layers) :]:
        axes.remove()
    if len(heads) > 1:
        key(inside, panels.ravel()[0])
    return figure


def _shown(result: StructureResult) -> list[HeadProfiles]:
    """The layers that are drawn; those whose grid is that of the first."""
    alike = [one for one in result.heads if one.profile.shape[1:] == _first(result)]
    return [alike[k] for k in evenly(len(alike), MOST_LAYERS)]


def _first(result: StructureResult) -> tuple[int, ...]:
    return result.heads[0].profile.shape[1:]


def _thinned(result: StructureResult, layers: list[HeadProfiles]) -> str:
    alike = sum(one.profile.shape[1:] == _first(result) for one in result.heads)
    others = len(result.heads) - alike
    left = f"{others} layers on other grids are left out. " if others else ""
    return thinned_to(len(layers), alike, "layers") + left
