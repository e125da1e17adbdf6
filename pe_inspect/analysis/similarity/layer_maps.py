"""The affinity maps of an embedding, layer by layer, made when they are asked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np

from pe_inspect.analysis.common.map_statistics import (
    LayerStatistics,
    layer_statistics,
    thinned,
)
from pe_inspect.analysis.common.selection import LayerView, by_layer
from pe_inspect.analysis.structure.indices import sides_of
from pe_inspect.analysis.structure.offset_profile import offset_profile
from pe_inspect.analysis.structure.words import MapWord, map_word
from pe_inspect.arrays import Float32
from pe_inspect.errors import UsageError
from pe_inspect.kinds.affinity import Affinity, cosines
from pe_inspect.kinds.position_embedding import LayerPE, PositionEmbedding
from pe_inspect.kinds.scheme_kind import AffinityDefinition

__all__ = ["OVERVIEW_SIDE", "SimilarityMaps", "stacked"]

OVERVIEW_SIDE: Final = 256


@dataclass(frozen=True, eq=False)
class SimilarityMaps:
    """The affinity of every pair of patches, in every layer.

    Maps are computed layer by layer when they are asked for, and are not kept: 24 layers of a
    64×64 grid would be 1.6 GB. Only the numbers and the thinned maps of one pass are remembered.

    Attributes:
        pe: what was analysed.
        views: the layers that were chosen, in the model's order.
        token: (row, column) of the query patch; `None` is the middle one of each layer's grid.
        head: the head that is shown; `None` is the mean over heads in figures and numbers, and
            all heads in arrays.
        ln_eps: overrides the ε of every norm.
        has_raw: whether the cosines of the stored table are part of the result.
    """

    pe: PositionEmbedding
    views: tuple[LayerView, ...]
    token: tuple[int, int] | None = None
    head: int | None = None
    ln_eps: float | None = None
    has_raw: bool = True

    @property
    def affinity(self) -> AffinityDefinition:
        """What the maps show: name, one-sentence definition, and the range."""
        return self.pe.affinity

    @property
    def layer_names(self) -> tuple[str, ...]:
        """The layers, in the model's order."""
        return tuple(view.name for view in self.views)

    @property
    def grid_size(self) -> tuple[int, int]:
        """(H, W) of the first layer."""
        return self.views[0].grid_size

    @property
    def is_uniform(self) -> bool:
        """Whether all layers have the same grid."""
        return len({view.grid_size for view in self.views}) == 1

    def affinities(self) -> Iterator[tuple[LayerView, Affinity]]:
        """Yield every layer with its affinity; nothing is multiplied out yet."""
        by_name = {view.name: view for view in self.views}
        for name, tables in by_layer(self.pe, self.ln_eps):
            if name in by_name:
                yield by_name[name], self.pe.scheme_kind.affinity(tables, self.pe.relation)

    def layers(self) -> Iterator[tuple[str, Float32[np.ndarray, "heads patches patches"]]]:
        """Yield every layer's name and maps; one layer is in memory at a time."""
        for view, alike in self.affinities():
            yield view.name, np.stack([alike.map(head) for head in self._heads(alike)])

    @property
    def matrix(self) -> Float32[np.ndarray, "layers heads patches patches"]:
        """All maps at once; a layer with fewer heads than another is filled with NaN.

        Raises:
            UsageError: the layers have different grids.
        """
        self._require_one_grid("matrix")
        return stacked([values for _, values in self.layers()])

    @property
    def raw(self) -> Float32[np.ndarray, "tables 1 patches patches"] | None:
        """The cosines of the stored tables, before any norm; `None` unless they are vectors."""
        maps = [values for _, values in self.raw_layers()]
        return np.stack(maps) if maps else None

    def raw_layers(self) -> Iterator[tuple[str, Float32[np.ndarray, "1 patches patches"]]]:
        """Yield every stored table's name and cosines."""
        for table in self.raw_tables:
            yield table.name, cosines(table.patches).map(None)[None]

    @property
    def statistics(self) -> tuple[LayerStatistics, ...]:
        """Every layer's map in numbers."""
        return self._pass.statistics

    @property
    def words(self) -> tuple[MapWord | None, ...]:
        """What every layer's map looks like; `None` where no word is defined."""
        return self._pass.words

    @cached_property
    def _pass(self) -> _Pass:
        """The one pass over all maps that figures and numbers share."""
        maps: list[np.ndarray] = []
        statistics: list[LayerStatistics] = []
        words: list[MapWord | None] = []
        previous: np.ndarray | None = None
        for view, alike in self.affinities():
            values = alike.map(self._shown_head(alike))
            statistics.append(
                layer_statistics(values, view.grid_size, alike.undefined, previous, view.num_frames)
            )
            profile = offset_profile(values, sides_of(view.grid_size, view.num_frames))
            words.append(map_word(values, profile))
            maps.append(thinned(values, view.grid_size, OVERVIEW_SIDE))
            previous = values
        return _Pass(tuple(maps), tuple(statistics), tuple(words))

    def _thinned(self, max_side: int) -> Iterator[np.ndarray]:
        for view, alike in self.affinities():
            yield thinned(alike.map(self._shown_head(alike)), view.grid_size, max_side)

    def _heads(self, alike: Affinity) -> Sequence[int]:
        return range(alike.num_heads) if self.head is None else [self.head]

    def _shown_head(self, alike: Affinity) -> int | None:
        return 0 if alike.num_heads == 1 else self.head

    @property
    def raw_tables(self) -> tuple[LayerPE, ...]:
        """The stored tables that `raw` shows: none unless they are vectors."""
        if not (self.has_raw and self.pe.scheme_kind.has_token_rows):
            return ()
        shown = [table for table in self.pe.tables if table.layer in self.layer_names]
        return tuple(shown) if len(self.pe.tables) > 1 else self.pe.tables

    def _require_one_grid(self, what: str) -> None:
        if not self.is_uniform:
            grids = sorted({f"{h}×{w}" for h, w in (view.grid_size for view in self.views)})
            raise UsageError(
                f"{what} stacks the layers, but their grids are {', '.join(grids)}. "
                "Choose a --layer, or go through layers() one by one."
            )


@dataclass(frozen=True, eq=False)
class _Pass:
    maps: tuple[np.ndarray, ...]
    statistics: tuple[LayerStatistics, ...]
    words: tuple[MapWord | None, ...]


def stacked(layers: Sequence[np.ndarray]) -> np.ndarray:
    """Return the layers' maps as one array; missing heads are NaN."""
    heads = max(len(values) for values in layers)
    result = np.full((len(layers), heads, *layers[0].shape[1:]), np.nan, np.float32)
    for filled, values in zip(result, layers):
        filled[: len(values)] = values
    return result
