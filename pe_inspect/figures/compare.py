"""Several embeddings side by side: one patch's map, a row an embedding, a column a layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from pe_inspect.figures.layout.mosaics import Words
from pe_inspect.figures.layout.rows import Row, draw_rows, evenly, thinned_to

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from pe_inspect.analysis.compare import Comparison

__all__ = ["draw_compare", "told_notions"]

MOST_LAYERS: Final = 6
MOST_ROWS: Final = 12
_NOTIONS: Final = {
    "joined": "Joined, as the model computes it for the layer",
    "proxy": "Proxy, LN1 of the layer on the table",
    "stored": "Stored, the table itself before any norm",
}


def draw_compare(
    found: Comparison, labels: Sequence[str], *, token: tuple[int, int] | None = None
) -> Figure:
    """Draw one patch's map of every embedding in a few matched layers, on one scale.

    Args:
        found: the embeddings, on one grid.
        labels: theirs.
        token: (row, column) of the query patch; default the middle one.
    """
    depth = len(found.layers[0])
    columns = evenly(depth, MOST_LAYERS)
    shown = evenly(len(labels), MOST_ROWS)
    rows = [
        Row(labels[k], [maps[column] for column in columns], found.names(k, columns), patch)
        for k, (maps, patch) in enumerate(found.query_maps(token))
        if k in shown
    ]
    return draw_rows(rows, found.scale, _words_around(found, labels, len(columns), len(shown)))


def told_notions(found: Comparison, labels: Sequence[str]) -> str:
    """Say whose maps are joined, whose are proxies, and whose are stored."""
    met = found.of_notion(labels).items()
    return " ".join(f"{_NOTIONS[notion]}: {', '.join(names)}." for notion, names in met)


def _words_around(found: Comparison, labels: Sequence[str], columns: int, rows: int) -> Words:
    (centre, limit), name = found.scale, found.results[0].affinity.name
    height, width = found.grid_size
    about, less = (f" {word} {centre:.3g}" if centre else "" for word in ("about", "less"))
    text = (
        f"All on {height}×{width} patches; a column is a depth. The query patch is outlined. "
        f"{thinned_to(columns, len(found.layers[0]), 'layers')}"
        f"{thinned_to(rows, len(found.results), 'embeddings')}"
        f"{told_notions(found, labels)} One scale, −{limit:.3g} to {limit:.3g}{about}."
    )
    heading = f"{name[0].upper()}{name[1:]} of one patch with every other, side by side"
    return Words(heading, text, "layer", "", f"{name}{less}")
