"""The rows of `structure`: the stored table first, then every layer that receives it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from pe_inspect.analysis.common.selection import LayerView, by_layer, views_of
from pe_inspect.analysis.structure.hierarchy import layer_correlations, off_diagonal
from pe_inspect.analysis.structure.indices import Indices, indices_of
from pe_inspect.analysis.structure.offset_profile import offset_profile
from pe_inspect.analysis.structure.table_pictures import TableByPlace, table_by_place
from pe_inspect.analysis.structure.words import MapWord, map_word
from pe_inspect.arrays import Float, Float32
from pe_inspect.kinds.affinity import Affinity
from pe_inspect.kinds.parts import LayerPE
from pe_inspect.kinds.position_embedding import PositionEmbedding

__all__ = ["STORED", "StructureRow", "StructureRows", "rows_of", "stored_tables"]

STORED: Final = "stored"
COMPONENTS: Final = 6  # principal components whose maps are kept


@dataclass(frozen=True, eq=False)
class StructureRow:
    """One row: the stored table, or what a layer receives.

    Attributes:
        view: the layer, its grid, and what stands between it and the stored table.
        indices: its numbers, of the mean over heads.
        num_undefined: patches without an affinity.
        table: what is kept of the vectors, prefix rows left out; `None` of a kind without vectors.
        prefix: the prefix rows of that table; none of a kind without vectors.
        heads: the profile by offset of each head, where there are several; else empty.
        word: what the map looks like; `None` where that is not defined.
    """

    view: LayerView
    indices: Indices
    num_undefined: int
    table: TableByPlace | None
    prefix: Float32[np.ndarray, "prefix channels"]
    heads: Float32[np.ndarray, "heads ..."]
    word: MapWord | None

    @property
    def name(self) -> str:
        """`stored`, or the layer."""
        return self.view.name

    @property
    def profile(self) -> Float[np.ndarray, "..."]:
        """The affinity by offset."""
        return self.indices.of_map.profile.mean


@dataclass(frozen=True, eq=False)
class StructureRows:
    """All rows of one embedding, and how alike the layers' maps are.

    Attributes:
        rows: the stored table first.
        correlations: Pearson's, of the off-diagonal maps of all pairs of layers.
    """

    rows: tuple[StructureRow, ...]
    correlations: Float[np.ndarray, "layers layers"]

    @property
    def stored(self) -> StructureRow:
        """The row of the stored table."""
        return self.rows[0]

    @property
    def layers(self) -> tuple[StructureRow, ...]:
        """The rows of the layers."""
        return self.rows[1:]


def rows_of(pe: PositionEmbedding, ln_eps: float | None = None) -> StructureRows:
    """Return every row of an embedding; one layer's map is in memory at a time.

    Args:
        pe: one scheme of one checkpoint, on flat grids.
        ln_eps: overrides the ε of every norm.
    """
    rows, kept = [], []
    for view, tables in _tables(pe, ln_eps):
        alike = pe.scheme_kind.affinity(tables, pe.relation)
        values = alike.map(None)
        rows.append(_row(pe, view, tables[0], alike, values))
        if view.name != STORED:
            kept.append(off_diagonal(values))
    return StructureRows(tuple(rows), layer_correlations(kept))


def stored_tables(pe: PositionEmbedding) -> tuple[LayerPE, ...]:
    """Return the first stored table, or the parts of the first layer's."""
    first = pe.tables[0]
    if not pe.scheme_kind.has_parts:
        return (first,)
    return tuple(table for table in pe.tables if table.layer == first.layer)


def _tables(
    pe: PositionEmbedding, ln_eps: float | None
) -> Iterator[tuple[LayerView, Sequence[LayerPE]]]:
    stored, views = stored_tables(pe), {view.name: view for view in views_of(pe)}
    maps = pe.scheme_kind.num_maps(stored)
    yield LayerView(STORED, "stored", "", stored[0].grid_size, maps, stored[0].num_frames), stored
    for name, tables in by_layer(pe, ln_eps):
        yield views[name], tables


def _row(
    pe: PositionEmbedding,
    view: LayerView,
    first: LayerPE,
    alike: Affinity,
    values: Float32[np.ndarray, "patches patches"],
) -> StructureRow:
    has_rows = pe.scheme_kind.has_row_vectors and not pe.scheme_kind.is_by_offset
    table = first.patches if has_rows else None
    indices = indices_of(
        values, view.grid_size, table, num_frames=view.num_frames, num_maps=COMPONENTS
    )
    prefix = first.prefix.copy() if has_rows else np.zeros((0, 0), np.float32)
    count = int(np.count_nonzero(alike.undefined))
    heads, word = _heads(alike, indices.sides), map_word(values, indices.of_map.profile)
    kept = None if table is None else table_by_place(table, indices.sides)
    return StructureRow(view, indices, count, kept, prefix, heads, word)


def _heads(alike: Affinity, sides: tuple[int, ...]) -> Float32[np.ndarray, "heads ..."]:
    if alike.num_heads == 1:
        return np.zeros((0, *(2 * side - 1 for side in sides)), np.float32)
    heads = (alike.map(head) for head in range(alike.num_heads))
    return np.stack([offset_profile(head, sides).mean.astype(np.float32) for head in heads])
