"""The captions of similarity's figures: what was drawn, by which definition, what was left out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pe_inspect.analysis.common.selection import LayerView
    from pe_inspect.analysis.similarity import SimilarityResult, Tiles

__all__ = ["NO_BREAK", "caption_of", "pairs_words", "tile_thinning"]

NO_BREAK: Final = "\N{NO-BREAK SPACE}"
_NOTIONS: Final = {
    "joined": "Joined: as the model itself computes it and uses it in that layer.",
    "proxy": "Proxy: LN1 of each layer on the stored table, without any content.",
    "stored": "Stored: the table as the file holds it.",
}
_COMPUTED: Final = "Computed, not stored: the file holds no such table."
_PAIRS: Final = "Each row and each column of a map is a patch, in reading order."
_BLOCKS: Final = (
    "Each row and each column of a map is a square of {side}×{side} patches, in reading order: "
    "thinned, a pixel is the mean over the pairs of two squares."
)


def caption_of(
    result: SimilarityResult,
    *more: str,
    about_layers: bool = True,
    of: LayerView | None = None,
    with_heads: bool = True,
) -> str:
    """Return the caption of a figure.

    Args:
        result: what was drawn.
        more: sentences of this figure alone.
        about_layers: say what a layer's table is.
        of: the one layer that was drawn; all of them unless given.
        with_heads: say which heads were drawn.
    """
    notions = dict.fromkeys(view.notion for view in ([of] if of else result.views))
    texts = _NOTIONS if result.pe.stored else {**_NOTIONS, "stored": _COMPUTED}
    meanings = [texts[notion] for notion in notions] if about_layers else []
    prefix = ["Prefix tokens are left out."] if result.pe.num_prefix_rows else []
    parts = (
        f"{result.pe.headline}.",
        *more,
        *meanings,
        *(_heads(result) if with_heads else ()),
        *prefix,
        _scale_words(result),
    )
    return " ".join(part for part in parts if part)


def _heads(result: SimilarityResult) -> list[str]:
    if max(view.num_heads for view in result.views) == 1:
        return []
    return ["Mean over heads." if result.head is None else f"Head {result.head}."]


def pairs_words(blocks: Sequence[int]) -> str:
    """Say what a row of an N×N map is: a patch, or a square of so many by so many."""
    side = max(blocks)
    return _PAIRS if side == 1 else _BLOCKS.format(side=side)


def tile_thinning(tiles: Tiles) -> str:
    """Say how many patches have a tile; empty where all have one."""
    if not tiles.is_thinned:
        return ""
    shown, (height, width) = len(tiles.rows) * len(tiles.columns), tiles.grid_size
    return f"Thinned: {shown} evenly spaced patches of {height * width} have a tile."


def _scale_words(result: SimilarityResult) -> str:
    about = (
        f" about {result.centre:.3g}: a constant cancels in the softmax" if result.centre else ""
    )
    return f"One scale, −{result.limit:.3g}{NO_BREAK}to{NO_BREAK}{result.limit:.3g}{about}."
