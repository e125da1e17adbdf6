"""How alike are positions, in every layer: the affinity maps of each scheme, layer by layer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from math import prod
from typing import IO, TYPE_CHECKING, Any, ClassVar, Final

import numpy as np

from pe_inspect.analysis import questions
from pe_inspect.analysis.common.map_statistics import (
    LayerStatistics,
    block_side,
    coarse_grid,
    shared_scale,
    thinned,
)
from pe_inspect.analysis.common.notebook_repr import Shown
from pe_inspect.analysis.common.selection import (
    Layers,
    LayerView,
    checked_head,
    checked_token,
    chosen,
    flat_index,
    views_of,
)
from pe_inspect.analysis.similarity.finding import finding_of
from pe_inspect.analysis.similarity.layer_maps import OVERVIEW_SIDE, SimilarityMaps, stacked
from pe_inspect.analysis.similarity.maps import Overview, Tiles
from pe_inspect.analysis.similarity.maps_file import write_maps
from pe_inspect.analysis.similarity.notes import in_short, notes_on, num_undefined_raw
from pe_inspect.arrays import Float32
from pe_inspect.kinds.affinity import Affinity, cosines
from pe_inspect.kinds.frames import notes_of_frames, place_in_row, row_of_frames
from pe_inspect.kinds.position_embedding import PositionEmbedding
from pe_inspect.kinds.within_memory import notes_of_sampling, stride_of, within_memory

if TYPE_CHECKING:
    from pandas import DataFrame
    from xarray import Dataset

__all__ = ["LayerStatistics", "LayerView", "Overview", "SimilarityResult", "Tiles", "similarity"]

MAX_TILES: Final = 16
DEFINITIONS: Final[Mapping[str, str]] = {
    "num_layers": "layers that were compared",
    "num_patches": "patches of the first layer's grid",
    "minimum": "the least affinity of two different patches, over all layers",
    "maximum": "the greatest affinity of two different patches, over all layers",
    "mean": "mean affinity over all pairs of different patches; the mean over layers",
    "neighbours": "mean affinity of patches that share an edge (of one place in consecutive frames "
    "too); the mean over layers",
    "neighbours_in_rows": "with frames: mean affinity of patches of one frame, one step apart in "
    "rows; the mean over layers",
    "neighbours_in_columns": "with frames: mean affinity of patches of one frame, one step apart "
    "in columns; the mean over layers",
    "neighbours_in_time": "with frames: mean affinity of patches of one place in consecutive "
    "frames; the mean over layers",
    "far": "mean affinity of patches at least half the grid apart, in rows, in columns or in "
    "frames; the mean over layers",
    "correlation_to_previous": "Pearson correlation of a layer's map with that of the layer "
    "before, over pairs of different patches; the mean over layers whose grid is that of the "
    "layer before",
    "num_undefined": "patches without an affinity, summed over layers: a row of zeros, or a value "
    "that is not finite",
    "num_undefined_raw": "rows without a cosine, summed over the stored tables",
}
"""What each number of the summary is; of several heads, maps are the mean over heads, or one."""
NOT_TABLED: Final = ("limit", "nearest", "neighbours_by_axis")
_AXES: Final = ("neighbours_in_rows", "neighbours_in_time", "neighbours_in_columns")


@dataclass(frozen=True, eq=False)
class SimilarityResult(Shown, SimilarityMaps):
    """The affinity of every pair of patches, in every layer: maps, pictures and numbers."""

    question: ClassVar[str] = "similarity"
    definitions: ClassVar[Mapping[str, str]] = DEFINITIONS

    __repr__ = in_short

    @property
    def parameters(self) -> dict[str, Any]:
        """The choices behind the result, by their command-line names."""
        token, layers = list(self.token or self.views[0].middle), list(self.layer_names)
        return {"layers": layers, "head": self.head, "token": token, "ln_eps": self.ln_eps}

    def query_maps(
        self, token: tuple[int, int] | None = None
    ) -> Float32[np.ndarray, "layers heads rows columns"]:
        """Return the map of one query patch in every layer: one row of each N×N map.

        Args:
            token: (row, column) of the query patch; default the result's own.

        Raises:
            UsageError: the patch is outside the grid, or the layers have different grids.
        """
        self._require_one_grid("query_maps")
        return stacked([values for _, values in self.queries(token)])

    def queries(
        self, token: tuple[int, int] | None = None
    ) -> Iterator[tuple[LayerView, Float32[np.ndarray, "heads rows columns"]]]:
        """Yield every layer with the map of one query patch."""
        for view, alike in self.affinities():
            index = flat_index(token or self.token, view)
            yield view, alike.rows([index], self.head).reshape(-1, *view.grid_size)

    def raw_query(
        self, token: tuple[int, int] | None = None
    ) -> tuple[LayerView, Float32[np.ndarray, "rows columns"]] | None:
        """Return the query patch's map in the (first) stored table, where there are raw maps."""
        for table in self.raw_tables:
            view = LayerView("stored table", "stored", "", table.grid_size, 1, table.num_frames)
            row = cosines(table.patches).rows([flat_index(token or self.token, view)])
            return view, row.reshape(table.grid_size)
        return None

    def fig7(
        self,
        max_tiles: int = MAX_TILES,
        *,
        tiles: tuple[int, int] | None = None,
        of_layer: bool = False,
    ) -> Tiles:
        """Return the tiles of ViT's Figure 7, of the stored table or else of the first layer.

        Args:
            max_tiles: tiles to a side; on a larger grid evenly spaced patches have tiles.
            tiles: (rows, columns) of tiles instead, as ViT's own figure has 7×7.
            of_layer: of the first layer that was chosen, after its norm, not of the stored table.

        Source: arXiv:2010.11929, Figure 7, centre.
        """
        name, grid_size, alike = self._layer_pictured() if of_layer else self._pictured()
        counts = (max_tiles, max_tiles) if tiles is None else tiles
        rows, columns = (_evenly(side, count) for side, count in zip(grid_size, counts))
        index = [row * grid_size[1] + column for row in rows for column in columns]
        values = alike.rows(index, self.head).mean(axis=0)
        return Tiles(
            values.reshape(len(rows), len(columns), *grid_size), rows, columns, name, grid_size
        )

    def overview(self, max_side: int = OVERVIEW_SIDE) -> Overview:
        """Return every layer's map, averaged over heads, and over squares of patches if large.

        Up to the default side this costs no pass of its own: smaller maps are means of the means
        that are kept.

        Args:
            max_side: rows of a map, at most.
        """
        sizes = tuple(view.num_patches for view in self.views)
        if max_side <= OVERVIEW_SIDE or max(sizes) <= OVERVIEW_SIDE:
            maps = tuple(
                thinned(values, grid, max_side)
                for values, grid in zip(self._pass.maps, self._kept_grids)
            )
        else:
            maps = tuple(self._thinned(max_side))
        return Overview(maps, self.overview_blocks(max_side), sizes)

    def overview_blocks(self, max_side: int) -> tuple[int, ...]:
        """Return the side of the squares of patches that `overview` averages, for every layer."""
        grids = [view.grid_size for view in self.views]
        if max_side > OVERVIEW_SIDE:
            return tuple(block_side(grid, max_side) for grid in grids)
        return tuple(
            block_side(grid, OVERVIEW_SIDE) * block_side(kept, max_side)
            for grid, kept in zip(grids, self._kept_grids)
        )

    def overview_side(self, max_side: int) -> int:
        """Return the rows of the largest map of `overview`, which nothing is computed for."""
        blocks = zip(self.views, self.overview_blocks(max_side))
        return max(prod(coarse_grid(view.grid_size, side)) for view, side in blocks)

    @property
    def _kept_grids(self) -> list[tuple[int, int]]:
        """The grids of the maps that are kept."""
        grids = [view.grid_size for view in self.views]
        return [coarse_grid(grid, block_side(grid, OVERVIEW_SIDE)) for grid in grids]

    @property
    def centre(self) -> float:
        """The middle of the shared scale: 0, but for biases that all lie far to one side."""
        return 0.0 if self.affinity.limit else shared_scale(self.statistics)[0]

    @property
    def limit(self) -> float:
        """The scale is [centre − limit, centre + limit]: 1 for cosines, else what the data need."""
        return self.affinity.limit or shared_scale(self.statistics)[1]

    @property
    def finding(self) -> str:
        """The answer in one sentence, with its numbers."""
        return finding_of(
            self.affinity, self.summary(), self.statistics, self.layer_names, self.words
        )

    def summary(self) -> dict[str, float]:
        """Return the result in a few descriptive numbers, which `DEFINITIONS` defines."""
        rows = self.statistics
        means = ("mean", "neighbours", "far", "correlation_to_previous")
        return {
            "num_layers": float(len(self.views)),
            "num_patches": float(self.views[0].num_patches),
            "minimum": _reduced(np.min, [row.minimum for row in rows]),
            "maximum": _reduced(np.max, [row.maximum for row in rows]),
            **{name: _reduced(np.mean, [getattr(row, name) for row in rows]) for name in means},
            **_by_axis(rows),
            "num_undefined": float(sum(row.num_undefined for row in rows)),
            "num_undefined_raw": float(num_undefined_raw(self)),
        }

    def rows(self) -> list[dict[str, Any]]:
        """Return one dictionary a layer: what `to_frame` holds, without pandas."""
        names = [field.name for field in fields(LayerStatistics) if field.name not in NOT_TABLED]
        return [
            {
                "layer": view.name,
                "notion": view.notion,
                "norm": view.norm,
                **{name: getattr(row, name) for name in names},
            }
            for view, row in zip(self.views, self.statistics)
        ]

    def to_frame(self) -> DataFrame:
        """Return one row a layer: its notion, its norm, and its statistics."""
        from pandas import DataFrame

        return DataFrame(self.rows())

    def to_xarray(self) -> Dataset:
        """Return the numbers of every layer, and `affinity`, all maps of all pairs of patches.

        Its dimensions are layer, head, query_row, query_column, key_row and key_column.

        Raises:
            MissingLibrary: xarray is not installed.
            UsageError: the layers have different grids.
        """
        places = [f"{end}_{axis}" for end in ("query", "key") for axis in ("row", "column")]
        maps = self.matrix
        values = maps.reshape(*maps.shape[:2], *self.grid_size, *self.grid_size)
        found = super().to_xarray()
        return found.assign(affinity=(("layer", "head", *places), values))

    @cached_property
    def notes(self) -> tuple[str, ...]:
        """Every correction and omission, in words."""
        return (*notes_of_sampling(self.pe), *notes_of_frames(self.pe), *notes_on(self))

    def save_npz(self, file: IO[bytes]) -> None:
        """Write `layers`, `raw` (vectors only), `layer_names` and `grid_size`, a map at a time.

        Layers with fewer heads than others are filled up with NaN. Where grids differ from layer
        to layer, `layers` is one array a layer, `layers/<name>`, and `grid_size` is (L, 2).
        """
        write_maps(self, file)

    def _pictured(self) -> tuple[str, tuple[int, int], Affinity]:
        for table in self.raw_tables:
            label = "stored table" + (f" of {table.layer}" if len(self.pe.tables) > 1 else "")
            return label, table.grid_size, cosines(table.patches)
        return self._layer_pictured()

    def _layer_pictured(self) -> tuple[str, tuple[int, int], Affinity]:
        view, alike = next(self.affinities())
        norm = f", after {view.norm}" if view.norm else ""
        return f"{view.name}{norm}", view.grid_size, alike


@questions.register("similarity")
def similarity(
    pe: PositionEmbedding,
    *,
    layer: Layers | None = None,
    head: int | None = None,
    token: Sequence[int] | None = None,
    ln_eps: float | None = None,
    raw: bool = True,
    max_memory: int | None = None,
) -> SimilarityResult:
    """Compare every pair of patches, in every layer, by the affinity of the scheme's kind.

    Vectors are compared as each layer receives them: by LaPE's recurrence where the model has
    one, else after norm1 of that layer, which is a proxy. Prefix rows are left out.

    Args:
        pe: one scheme of one checkpoint.
        layer: one layer or several, by name or by place; default all.
        head: one head; default the mean over heads in figures and numbers.
        token: (row, column) of the query patch, or (frame, row, column); default the middle one,
            (H//2, W//2).
        ln_eps: overrides the ε of every norm (LaPE's script draws with 1e-5, its models have 1e-6).
        raw: also compare the stored table, before any norm (vectors only).
        max_memory: bytes that maps may take, 2 GB where left out: of a larger grid evenly spaced
            rows and columns are taken, and a note says which.

    Raises:
        UsageError: there is no such layer, head or patch.

    Source: arXiv:2010.11929, Figure 7; LaPE, ICCV 2023, Eq. 9–12 and Figures 1, 3 and 4.
    """
    token = place_in_row(pe, token)
    whole = row_of_frames(pe, "similarity")
    seen = checked_token(token, chosen(views_of(whole), layer))
    pe = within_memory(whole, max_memory)
    if seen is not None and pe is not whole:
        seen = _nearest_taken(seen, stride_of(whole.tables[0], max_memory))
    views = chosen(views_of(pe), layer)
    return SimilarityResult(pe, views, seen, checked_head(head, views), ln_eps, raw)


def _nearest_taken(token: tuple[int, int], stride: int) -> tuple[int, int]:
    """The place of the row and column that were taken last before a patch's own."""
    return token[0] // stride, token[1] // stride


def _evenly(side: int, count: int) -> tuple[int, ...]:
    """At most `count` places of `side`: every second, every third, … where that comes out even.

    Else evenly spaced ones, centred in their intervals.
    """
    number = min(side, count)
    step = -(-side // number)
    if -(-side // step) == number:
        return tuple(range(0, side, step))
    return tuple((2 * k + 1) * side // (2 * number) for k in range(number))


def _by_axis(rows: Sequence[LayerStatistics]) -> dict[str, float]:
    """The neighbours along each axis, where there are frames."""
    by_axis = zip(*(row.neighbours_by_axis for row in rows if row.neighbours_by_axis))
    return {name: _reduced(np.mean, values) for name, values in zip(_AXES, by_axis)}


def _reduced(function: Callable[[list[float]], Any], values: Sequence[float]) -> float:
    defined = [value for value in values if np.isfinite(value)]
    return float(function(defined)) if defined else float("nan")
