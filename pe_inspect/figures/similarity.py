"""Pictures of a similarity result: Figure 7's mosaic, every layer's map, one patch's maps."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from pe_inspect.errors import UsageError
from pe_inspect.figures import drawings, drawings_each, drawings_on
from pe_inspect.figures.layout.mosaics import (
    LARGEST,
    Page,
    Words,
    draw_image,
    draw_page,
    draw_single,
    outline,
    plan,
    tile_middles,
    tile_ticks,
)
from pe_inspect.figures.layout.rows import Row, draw_rows, evenly, thinned_to
from pe_inspect.figures.layout.similarity_captions import (
    NO_BREAK,
    caption_of,
    pairs_words,
    tile_thinning,
)
from pe_inspect.figures.layout.style import Mosaic, diverging, mosaic

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from pe_inspect.analysis.common.selection import LayerView
    from pe_inspect.analysis.similarity import SimilarityResult, Tiles

__all__ = ["checked_tokens", "draw", "draw_each", "draw_on"]

MOST_TILES: Final = 16
KEPT: Final = 256  # rows of an N×N map that the result keeps: more would be computed again
MOST_COLUMNS: Final = 12

_TILES: Final = (
    "The tile at (row, column) is that patch's map over the whole grid, as in ViT's Figure 7 "
    "(arXiv:2010.11929)."
)
_QUERY: Final = "The query patch is outlined."

Token = tuple[int, int] | None


@drawings.register("similarity")
def draw(
    result: SimilarityResult,
    *,
    token: Token = None,
    tokens: Sequence[tuple[int, int]] = (),
    finest: int = LARGEST,
    tiles: tuple[int, int] | None = None,
    of_layer: bool = False,
    heads: bool = False,
) -> dict[str, Figure]:
    """Draw a similarity result.

    Args:
        result: what `similarity` answered.
        token: (row, column) of the query patch; default the result's own.
        tokens: several query patches instead, a row of maps each.
        finest: pixels to a side of an N×N map, at most; squares of patches of a larger one are
            averaged.
        tiles: (rows, columns) of tiles in Figure 7; default as many as fit.
        of_layer: Figure 7 of the first layer that was chosen, after its norm.
        heads: a row of maps for every head, instead of their mean.

    Returns:
        `similarity`: the N×N map of every layer; `similarity_query`: the map of one patch in
        every layer; `similarity_fig7`: a map for every patch, laid out on the grid, after
        ViT's Figure 7. All on one scale, symmetric about zero.

    Raises:
        UsageError: some patch is outside the grid, or layers have different heads.
    """
    return {
        "similarity": _draw_layers(result, finest),
        "similarity_query": _queries(result, token, tokens, heads=heads),
        "similarity_fig7": _draw_tiles(result, tiles, of_layer=of_layer),
    }


@drawings_on.register("similarity")
def draw_on(
    result: SimilarityResult,
    axes: Axes,
    *,
    token: Token = None,
    tiles: tuple[int, int] | None = None,
    of_layer: bool = False,
) -> None:
    """Draw one picture on axes that somebody laid out: Figure 7's tiles, or one patch's map.

    Args:
        result: what `similarity` answered.
        axes: what to draw on; colours and scale are those of the figures.
        token: (row, column): draw this patch's map of the stored table or the layer instead.
        tiles: (rows, columns) of tiles.
        of_layer: of the first layer that was chosen, after its norm.
    """
    shown = result.fig7(_most_tiles(result), tiles=tiles, of_layer=of_layer)
    if token is not None:
        shown = result.fig7(max(shown.grid_size), of_layer=of_layer)
        values = _about_centre(result, shown.values[token])
        marks: dict[str, Any] = {"xticks": [], "yticks": []}
    else:
        values, marks = _on_one_image(result, shown)
    axes.imshow(
        np.clip(values, -result.limit, None), cmap=diverging(), vmin=-result.limit,
        vmax=result.limit, interpolation="none",
    )  # fmt: skip
    axes.set(**marks)


@drawings_each.register("similarity")
def draw_each(
    result: SimilarityResult, *, token: Token = None, **_: Any
) -> Iterator[tuple[str, Figure]]:
    """Draw every map by itself: the stored table's query map, each layer's map and query map.

    Args:
        result: what `similarity` answered.
        token: (row, column) of the query patch; default the result's own.

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
    planned = plan(
        len(result.views), lambda pixels: (result.overview_side(min(pixels, finest, KEPT)),) * 2
    )
    overview = result.overview(planned.side[0])
    words = Words(
        f"{_name(result)} of all pairs of patches, layer by layer",
        caption_of(result, pairs_words(overview.block)),
        "key patch",
        "query patch",
        _scale_name(result),
    )
    extent = (overview.thinned_from[0],) * 2 if result.is_uniform else None
    maps = [_about_centre(result, values) for values in overview.maps]
    return draw_page(maps, _layer_labels(result), planned, result.limit, words, extent).figure


def _queries(
    result: SimilarityResult, token: Token, tokens: Sequence[tuple[int, int]], *, heads: bool
) -> Figure:
    """Draw one patch's map in every layer, or rows of such maps: of patches, or of heads."""
    checked_tokens(tokens, result)
    chosen = token or (tokens[0] if len(tokens) == 1 else None)
    if len(tokens) > 1:
        rows = [_row(result, f"({row}, {column})", (row, column)) for row, column in tokens]
    elif heads:
        rows = list(_rows_of_heads(result, chosen))
    else:
        return _draw_queries(result, chosen)
    columns = evenly(len(result.views), MOST_COLUMNS)
    shown = [
        replace(row, maps=[row.maps[k] for k in columns], names=[row.names[k] for k in columns])
        for row in rows
    ]
    what = "head" if len(tokens) < 2 else "patch (row, column)"
    words = Words(
        f"{_name(result)} with every patch, layer by layer",
        caption_of(
            result, f"A row is a {what}.", _QUERY, thinned_to(len(columns), len(rows[0].maps),
            "layers").strip(), with_heads=not heads,
        ),
        "layer",
        "",
        _scale_name(result),
    )  # fmt: skip
    return draw_rows(shown, (result.centre, result.limit), words)


def checked_tokens(tokens: Sequence[tuple[int, int]], result: SimilarityResult) -> None:
    """Refuse patches that are outside some layer's grid.

    Raises:
        UsageError: one is.
    """
    for height, width in {view.grid_size: None for view in result.views}:
        for row, column in tokens:
            if not (0 <= row < height and 0 <= column < width):
                raise UsageError(f"--token {row},{column} is outside the {height}×{width} grid.")


def _row(result: SimilarityResult, name: str, token: tuple[int, int]) -> Row:
    maps = [values.mean(axis=0) for _, values in result.queries(token)]
    return Row(name, maps, _layer_labels(result), token)


def _rows_of_heads(result: SimilarityResult, token: Token) -> Iterator[Row]:
    """Yield a row a head: evenly spaced ones, where there are many."""
    found = [values for _, values in result.queries(token)]
    counts = {len(values) for values in found}
    if len(counts) > 1:
        raise UsageError("The layers have different numbers of heads. Choose a --layer.")
    patch = token or result.token or result.views[0].middle
    for head in evenly(counts.pop(), MOST_COLUMNS):
        maps = [values[head] for values in found]
        yield Row(f"head {head}", maps, _layer_labels(result), patch)


def _draw_queries(result: SimilarityResult, token: Token) -> Figure:
    found = [(view, values.mean(axis=0)) for view, values in result.queries(token)]
    height, width = (max(view.grid_size[axis] for view, _ in found) for axis in (0, 1))
    words = Words(
        f"{_name(result)} of {_patch(result, token)} with every patch, layer by layer",
        caption_of(result, _QUERY),
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


def _draw_tiles(
    result: SimilarityResult, wanted: tuple[int, int] | None, *, of_layer: bool
) -> Figure:
    tiles = result.fig7(_most_tiles(result), tiles=wanted, of_layer=of_layer)
    layout, gap = _tiled(result, tiles)
    shape = (layout.image.shape[0], layout.image.shape[1])
    words = Words(
        f"{_name(result)} of every patch with all others: {tiles.name}",
        caption_of(result, _TILES, tile_thinning(tiles), about_layers=False),
        "patch column",
        "patch row",
        _scale_name(result),
    )
    page = draw_image(layout, plan(1, lambda _: shape), result.limit, words)
    tile_ticks(page.axes, tiles.rows, tiles.columns, layout.cell, gap)
    return page.figure


def _most_tiles(result: SimilarityResult) -> int:
    longer = max(result.grid_size)
    return max(min(MOST_TILES, LARGEST // (longer + _gap(result))), 1)


def _gap(result: SimilarityResult) -> int:
    return max(max(result.grid_size) // 12, 1)


def _tiled(result: SimilarityResult, tiles: Tiles) -> tuple[Mosaic, int]:
    gap = _gap(result)
    values = list(_about_centre(result, tiles.values).reshape(-1, *tiles.grid_size))
    return mosaic(values, len(tiles.columns), gap=(gap, gap), filling=2 * result.limit), gap


def _on_one_image(result: SimilarityResult, tiles: Tiles) -> tuple[np.ndarray, dict[str, Any]]:
    """Return the tiles side by side, and the ticks of axes around them."""
    layout, gap = _tiled(result, tiles)
    marks: dict[str, Any] = {"xlabel": "patch column", "ylabel": "patch row"}
    for axis, places, side in (
        ("y", tiles.rows, layout.cell[0]), ("x", tiles.columns, layout.cell[1]),
    ):  # fmt: skip
        marks[f"{axis}ticks"] = tile_middles(len(places), side, gap)
        marks[f"{axis}ticklabels"] = [str(place) for place in places]
    return layout.image, marks


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
        about = caption_of(result, pairs_words([block]), of=view)
        words = Words(text, about, "key patch", "query patch", _scale_name(result))
        return self._single_page(values, words, (view.num_patches,) * 2).redraw(
            _about_centre(result, values), text
        )

    def query(self, view: LayerView, values: np.ndarray, token: Token) -> Figure:
        result = self.result
        text = f"{view.name}: {result.affinity.name} with {_patch(result, token)}"
        about = caption_of(result, _QUERY, of=view)
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


def _file_stems(names: Sequence[str], all_names: Sequence[str]) -> list[str]:
    """Layer names as parts of file names: numbers filled up with zeros, to sort well among all."""
    digits = max(
        (len(n) for name in (*names, *all_names) for n in re.findall(r"\d+", name)), default=1
    )
    padded = [re.sub(r"\d+", lambda found: found[0].zfill(digits), name) for name in names]
    return [re.sub(r"[^\w.-]", "_", name) for name in padded]
