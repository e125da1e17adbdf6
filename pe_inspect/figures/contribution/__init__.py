"""How much of each layer is position: shares, maps, λ, edits and token norms, by layer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from pe_inspect.analysis.common.places import Chosen, chosen_states
from pe_inspect.figures import drawings, drawings_each
from pe_inspect.figures.contribution.by_layer import edits, mixing, norms, shares
from pe_inspect.figures.layout.sheets import Scale, Sheet, columns_for, draw_sheet
from pe_inspect.figures.layout.style import diverging

if TYPE_CHECKING:
    from pe_inspect.analysis.contribution import ContributionResult

__all__ = ["draw", "draw_each"]


@drawings.register("contribution")
def draw(
    result: ContributionResult, layer: Chosen = None, token: tuple[int, int] | None = None
) -> dict[str, Figure]:
    """Draw ω² by layer, position maps as colours and as cosines, λ, edits and token norms.

    Args:
        result: what `contribution` answered with.
        layer: the places whose maps are shown: `h3`, or `blocks.3` for what enters it.
        token: the patch whose cosines are shown; the middle one unless given.

    Returns:
        `"contribution"`, `"contribution_maps"`, `"contribution_similarity"`,
        `"contribution_norms"`; where there are, `"contribution_mixing"` and
        `"contribution_edits"`.
    """
    places = chosen_states(result.trace.layer_names, layer)
    figures = {
        "contribution": shares(result),
        "contribution_maps": colours(result, places),
        "contribution_similarity": cosines(result, places, token),
        "contribution_norms": norms(result),
    }
    if result.trace.shares:
        figures["contribution_mixing"] = mixing(result)
    if result.trace.edits:
        figures["contribution_edits"] = edits(result)
    return figures


@drawings_each.register("contribution")
def draw_each(
    result: ContributionResult, layer: Chosen = None, token: tuple[int, int] | None = None
) -> Iterator[tuple[str, Figure]]:
    """Yield the map of every place, as colours and as cosines."""
    for k in chosen_states(result.trace.layer_names, layer):
        place = result.trace.places[k]
        yield f"contribution_maps_{place}", colours(result, [k])
        yield f"contribution_similarity_{place}", cosines(result, [k], token)


def colours(result: ContributionResult, places: Sequence[int]) -> Figure:
    """Draw position maps as red, green and blue."""
    found = [result.colours[k] for k in places]
    names = [f"{result.trace.places[k]} {_percent(each.share)}" for k, each in zip(places, found)]
    text = (
        "The position map of a place: the mean over images of its patch tokens, less the mean over "
        f"patches ({result.trace.images.count} images). Red, green and blue are its first three "
        "principal components, each stretched over the map: colours are no scale, and do not "
        "compare between maps. In percent: the share of the map's variance that the three have. "
        "h0 is ahead of the first block, final behind the last norm."
    )
    words = result.heading("position maps, as colours")
    side = max(max(result.grid_sizes[k]) for k in places)
    columns = columns_for(len(places), side, has_scale=False)
    sheet = Sheet(words, text, [each.rgb for each in found], columns, names)
    return draw_sheet(sheet, None)


def cosines(
    result: ContributionResult, places: Sequence[int], token: tuple[int, int] | None
) -> Figure:
    """Draw the cosine of one patch's row of each position map with all others."""
    rows, columns = result.trace.grid_size
    at = token or (rows // 2, columns // 2)
    maps = [result.cosine_map(k, at) for k in places]
    text = (
        f"Cosine of the outlined patch (row {at[0]}, column {at[1]}) with every patch, in the "
        "position map of each place: the mean over images of its patch tokens, less the mean over "
        f"patches ({result.trace.images.count} images)."
    )
    words = result.heading("position maps, as cosines with one patch")
    columns = columns_for(len(places), max(max(result.grid_sizes[k]) for k in places))
    sheet = Sheet(
        words, text, maps, columns, [result.trace.places[k] for k in places],
        marks={k: result.token_at(place, at) for k, place in enumerate(places)},
    )  # fmt: skip
    return draw_sheet(sheet, Scale(diverging(), Normalize(-1, 1), "cosine"))


def _percent(share: float) -> str:
    return "" if np.isnan(share) else f"{share:.0%}"
