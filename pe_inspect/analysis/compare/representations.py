"""The vector that every patch has in a table or a layer: what CKA and Procrustes compare."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from pe_inspect.analysis.common.selection import by_layer
from pe_inspect.analysis.similarity import SimilarityResult
from pe_inspect.arrays import Float
from pe_inspect.kinds.affinity import Products
from pe_inspect.kinds.position_embedding import LayerPE, PositionEmbedding

__all__ = ["has_vectors", "layer_rows", "stored_rows", "what_is_compared"]

_OF_VECTORS = "the stored rows"
_OF_PRODUCTS = "the cosines and sines of the angles, of all heads"
_OF_VALUES = "each patch's row of the maps, of all heads"


def has_vectors(pe: PositionEmbedding) -> bool:
    """Whether a patch has a vector of its own, which can be turned onto that of another model."""
    kind = pe.scheme_kind
    return kind.has_row_vectors and not (kind.is_by_offset or kind.is_pairwise)


def what_is_compared(pe: PositionEmbedding) -> str:
    """Return what stands for a patch, in words."""
    if has_vectors(pe):
        return _OF_VECTORS
    return _OF_PRODUCTS if pe.scheme_kind.holds_angles else _OF_VALUES


def stored_rows(pe: PositionEmbedding) -> Float[np.ndarray, "patches channels"]:
    """Return a row a patch out of the stored tables: those of several tables side by side."""
    if has_vectors(pe):
        return np.concatenate([table.patches for table in pe.tables], axis=1)
    return np.concatenate([_rows(pe, tables) for _, tables in by_layer(pe, None)], axis=1)


def layer_rows(result: SimilarityResult) -> Iterator[Float[np.ndarray, "patches channels"]]:
    """Yield a row a patch of every layer, as that layer receives the table."""
    for name, tables in by_layer(result.pe, result.ln_eps):
        if name in result.layer_names:
            yield _rows(result.pe, tables)


def _rows(pe: PositionEmbedding, tables: Sequence[LayerPE]) -> Float[np.ndarray, "patches values"]:
    if has_vectors(pe):
        return np.asarray(tables[0].patches)
    alike = pe.scheme_kind.affinity(tables, pe.relation)
    if isinstance(alike, Products):
        return np.concatenate(list(alike.factors), axis=1)
    return np.concatenate([alike.map(head) for head in range(alike.num_heads)], axis=1)
