"""Pictures of a similarity result: Figure 7's mosaic, every layer's map, one patch's maps."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Final

import numpy as np

from pe_inspect.figures import drawings, drawings_each
from pe_inspect.figures.layout.mosaics import (
    LARGEST,
    Page,
    Words,
    draw_image,
    draw_page,
    draw_single,
    outline,
    plan,
    tile_ticks,
)
from pe_inspect.figures.layout.style import mosaic

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from pe_inspect.analysis.common.selection import LayerView
    from pe_inspect.analysis.similarity import SimilarityResult, Tiles

__all__ = ["draw", "draw_each"]

MOST_TILES: Final = 16
NO_BREAK: Final = "\N{NO-BREAK SPACE}"

_NOTIONS: Final = {
    "joined": "Joined: as the model itself computes it and uses it in that layer.",
    "proxy": "Proxy: LN1 of each layer on the stored table, without any content.",
    "stored": "Stored: the table as the file holds it.",
}
_COMPUTED: Final = "Computed, not stored: the file holds no such table."
_PAIRS: Final = "Each row and each column of a map is a patch, in reading order."
_TILES: Final = (
    "The tile at (row, column) is that patch's map over the whole grid, as in ViT's Figure 7 "
    "(arXiv:2010.11929)."
)
_QUERY: Final = "The query patch is outlined."

Token = tuple[int, int] | None


@drawings.register("similarity")
def draw(
    result: SimilarityResult, *, token: Token = None, finest: int = LARGEST
) -> dict[str, Figure]:
    """Draw a similarity result.

    Args:
        result: what `similarity` answered.
        token: (row, column) of the query patch; default the result's own.
        finest: pixels to a side of an N×N map, at most; blocks of a larger one are averaged.

    Returns:
        `similarity`: the N×N map of every layer; `similarity_query`: the map of one patch in
        every layer; `similarity_fig7`: a map for every patch, laid out on the grid, after
        ViT's Figure 7. All on one scale, symmetric about zero.
    """
    return {
        "similarity": _draw_layers(result, finest),
        "similarity_query": _draw_queries(result, token),
        "similarity_fig7": _draw_tiles(result),
    }


@drawings_each.register("similarity")
def draw_each(result: SimilarityResult, *, token: Token = None) -> Iterator[tuple[str, Figure]]:
    """Draw every map by itself: the stored table's query map, each layer's map and query map.

    Yields:
        (file stem, figure); the figure is valid until the next one is asked for.
    """
    stems = _file_stems(result.layer_names, result.pe.layer_names)
    raw = result.raw_query(token)
    show = _Singles(result)
    if raw is not None:
        yield "similarity_raw_query", show.query(*raw, token)
    overview = result.overview()
    for view, stem, values, block in zip(result.views, stems, overview.maps, overview.block):
        yield f"similarity_{stem}", show.pairs(view, values, block)
    for (view, values), stem in zip(result.queries(token), stems):
        yield f"similarity_query_{stem}", show.query(view, values.mean(axis=0), token)


def _draw_layers(result: SimilarityResult, finest: int) -> Figure:
    most = max(len(values) for values in result.overview().maps)
    planned = plan(
        len(result.views), lambda pixels: (_thinned_side(most, min(pixels, finest)),) * 2
    )
    overview = result.overview(planned.side[0])
    words = Words(
        f"{_name(result)} of all pairs of patches, layer by layer",
        _sentences(result, _PAIRS, _pair_thinning(overview.block, overview.thinned_from)),
        "key patch",
        "query patch",
        _scale_name(result),
    )
    extent = (overview.thinned_from[0],) * 2 if result.is_uniform else None
    maps = [_about_centre(result, values) for values in overview.maps]
    return draw_page(maps, _layer_labels(result), planned, result.limit, words, extent).figure


def _draw_queries(result: SimilarityResult, token: Token) -> Figure:
    found = [(view, values.mean(axis=0)) for view, values in result.queries(token)]
    height, width = (max(view.grid_size[axis] for view, _ in found) for axis in (0, 1))
    words = Words(
        f"{_name(result)} of {_patch(result, token)} with every patch, layer by layer",
        _sentences(result, _QUERY),
        "patch column",
        "patch row",
        _scale_name(result),
    )
    planned = plan(len(found), lambda _: (height, width))
    extent = result.grid_size if result.is_uniform else None
    maps = [_about_centre(result, values) for _, values in found]
    page = draw_page(maps, _layer_labels(result), planned, result.limit, words, extent)
    outline(page, [token or result.token or view.middle for view, _ in found])
    return page.figure


def _draw_tiles(result: SimilarityResult) -> Figure:
    longer = max(result.grid_size)
    gap = max(longer // 12, 1)
    tiles = result.fig7(max(min(MOST_TILES, LARGEST // (longer + gap)), 1))
    values = list(_about_centre(result, tiles.values).reshape(-1, *tiles.grid_size))
    layout = mosaic(values, len(tiles.columns), gap=(gap, gap), filling=2 * result.limit)
    shape = (layout.image.shape[0], layout.image.shape[1])
    words = Words(
        f"{_name(result)} of every patch with all others: {tiles.name}",
        _sentences(result, _TILES, _tile_thinning(tiles), about_layers=False),
        "patch column",
        "patch row",
        _scale_name(result),
    )
    page = draw_image(layout, plan(1, lambda _: shape), result.limit, words)
    tile_ticks(page, tiles.rows, tiles.columns, gap)
    return page.figure


class _Singles:
    """Single maps, redrawn on the same figure as long as their shape stays the same.

    Axes, ticks, captions and the colour scale are made once: they cost more than the map.
    """

    def __init__(self, result: SimilarityResult) -> None:
        self.result = result
        self.pages: dict[tuple[object, ...], Page] = {}

    def pairs(self, view: LayerView, values: np.ndarray, block: int) -> Figure:
        result = self.result
        text = f"{view.name}: {result.affinity.name} of all pairs"
        about = _sentences(result, _PAIRS, _pair_thinning([block], [view.num_patches]), of=view)
        words = Words(text, about, "key patch", "query patch", _scale_name(result))
        return self._single_page(values, words, (view.num_patches,) * 2).redraw(
            _about_centre(result, values), text
        )

    def query(self, view: LayerView, values: np.ndarray, token: Token) -> Figure:
        result = self.result
        text = f"{view.name}: {result.affinity.name} with {_patch(result, token)}"
        about = _sentences(result, _QUERY, of=view)
        words = Words(text, about, "patch column", "patch row", _scale_name(result))
        place = token or result.token or view.middle
        page = self._single_page(values, words, view.grid_size, lambda page: outline(page, [place]))
        return page.redraw(_about_centre(result, values), text)

    def _single_page(
        self,
        values: np.ndarray,
        words: Words,
        extent: tuple[int, int],
        finish: Callable[[Page], None] = lambda _: None,
    ) -> Page:
        missing = bool(np.isnan(values).any())
        key = (values.shape, extent, words.caption, words.x, missing)
        if key not in self.pages:
            shown = _about_centre(self.result, values)
            self.pages[key] = draw_single(shown, self.result.limit, words, extent)
            finish(self.pages[key])
        return self.pages[key]


def _name(result: SimilarityResult) -> str:
    name = result.affinity.name
    return name[0].upper() + name[1:]


def _about_centre(result: SimilarityResult, values: np.ndarray) -> np.ndarray:
    """What is drawn: the affinity, less the middle of its scale where that is not 0."""
    return values - np.float32(result.centre) if result.centre else values


def _scale_name(result: SimilarityResult) -> str:
    centre = f" less {result.centre:.3g}" if result.centre else ""
    return f"{result.affinity.name}{centre}"


def _scale_words(result: SimilarityResult) -> str:
    about = (
        f" about {result.centre:.3g}: a constant cancels in the softmax" if result.centre else ""
    )
    return f"One scale, −{result.limit:.3g}{NO_BREAK}to{NO_BREAK}{result.limit:.3g}{about}."


def _patch(result: SimilarityResult, token: Token) -> str:
    place = token or result.token
    if place is None and not result.is_uniform:
        return "the middle patch"
    row, column = place or result.views[0].middle
    return f"patch ({row},{NO_BREAK}{column})"


def _layer_labels(result: SimilarityResult) -> list[str]:
    """Layer names; where notions differ from layer to layer, each says which it is."""
    mixed = len({view.notion for view in result.views}) > 1
    return [f"{view.name} ({view.notion})" if mixed else view.name for view in result.views]


def _sentences(
    result: SimilarityResult, *more: str, about_layers: bool = True, of: LayerView | None = None
) -> str:
    """The caption: what was drawn, by which definition, and all that was left out."""
    notions = dict.fromkeys(view.notion for view in ([of] if of else result.views))
    texts = _NOTIONS if result.pe.stored else {**_NOTIONS, "stored": _COMPUTED}
    meanings = [texts[notion] for notion in notions] if about_layers else []
    prefix = ["Prefix tokens are left out."] if result.pe.num_prefix_rows else []
    parts = (
        f"{result.pe.headline}.",
        *more,
        *meanings,
        *_heads(result),
        *prefix,
        _scale_words(result),
    )
    return " ".join(part for part in parts if part)


def _heads(result: SimilarityResult) -> list[str]:
    if max(view.num_heads for view in result.views) == 1:
        return []
    return ["Mean over heads." if result.head is None else f"Head {result.head}."]


def _pair_thinning(blocks: Sequence[int], sizes: Sequence[int]) -> str:
    block, size = max(zip(blocks, sizes))
    if block == 1:
        return ""
    return f"Thinned: a pixel is the mean of {block}×{block} of the {size}×{size} pairs."


def _tile_thinning(tiles: Tiles) -> str:
    if not tiles.is_thinned:
        return ""
    shown, (height, width) = len(tiles.rows) * len(tiles.columns), tiles.grid_size
    return f"Thinned: {shown} evenly spaced patches of {height * width} have a tile."


def _thinned_side(size: int, most: int) -> int:
    """The side of a map of `size` after blocks are averaged until it has at most `most`."""
    return -(-size // -(-size // most))


def _file_stems(names: Sequence[str], all_names: Sequence[str]) -> list[str]:
    """Layer names as parts of file names: numbers filled up with zeros, to sort well among all."""
    digits = max(
        (len(n) for name in (*names, *all_names) for n in re.findall(r"\d+", name)), default=1
    )
    padded = [re.sub(r"\d+", lambda found: found[0].zfill(digits), name) for name in names]
    return [re.sub(r"[^\w.-]", "_", name) for name in padded]
