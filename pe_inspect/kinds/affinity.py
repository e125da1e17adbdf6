"""How alike two positions are, for every kind of scheme: one picture for all of them.

Two forms cover all kinds. `Products` holds one row a position, whose inner products are the
affinity (cosines of vectors, mean cosine of phase differences); it gives any row of the map
without computing the map. `Values` holds the map itself (a bias, or cosines of relation vectors).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol, runtime_checkable

import numpy as np

from pe_inspect.arrays import Bool, Float32, Shaped
from pe_inspect.kinds.position_embedding import Kind, LayerPE, PositionEmbedding, Relation
from pe_inspect.kinds.relations import relation_cosines

__all__ = [
    "DEFINITIONS",
    "Affinity",
    "AffinityDefinition",
    "Products",
    "Values",
    "affinity",
    "cosines",
    "definition",
    "undefined_rows",
]


@dataclass(frozen=True)
class AffinityDefinition:
    """What an affinity is called, what it means, and the scale it is drawn on.

    Attributes:
        name: two to four words for an axis label.
        sentence: the definition.
        limit: it lies in [−limit, limit]; `None` where only the data can tell.
    """

    name: str
    sentence: str
    limit: float | None = 1.0


DEFINITIONS: Final[dict[Kind, AffinityDefinition]] = {
    "vectors": AffinityDefinition(
        "cosine similarity",
        "cos(ω_i, ω_j) = ω_i·ω_j / (‖ω_i‖ ‖ω_j‖), between the position vectors of two patches.",
    ),
    "bias": AffinityDefinition(
        "attention bias",
        "b_ij, the number that is added to the attention logit of query patch i and key patch j.",
        None,
    ),
    "phases": AffinityDefinition(
        "mean phase cosine",
        "The mean, over the rotation angles of a head, of cos(θ_i − θ_j): "
        "by how much the rotations alone keep a query and a key of equal content alike.",
    ),
    "relative": AffinityDefinition(
        "relation cosine",
        "cos(a_ij, a_ii), between the relation vector of query patch i and key patch j and that "
        "of patch i with itself; a_ij joins the rows of the two tables at the clipped offsets "
        "in y and x. Query and value tables count as two heads.",
    ),
    "function": AffinityDefinition(
        "cosine similarity",
        "cos(e_i, e_j), between the vectors that the scheme computes for two patches; of the "
        "stated input, where they depend on one.",
    ),
}
_COMPUTED_BIAS: Final = AffinityDefinition(
    "computed bias",
    "b_ij, the number that the network computes for query patch i and key patch j from their "
    "offset alone, on the stated window: a bias on the attention logit, or the attention itself.",
    None,
)
_SUMMED: Final = AffinityDefinition(
    "relation cosine",
    "cos(a_ij, a_ii), between the relation vector of query patch i and key patch j and that of "
    "patch i with itself; a_ij is the sum of the rows of the two tables at the offsets in y and x.",
)
_JOINT: Final = AffinityDefinition(
    "relation cosine",
    "cos(a_ij, a_ii), between the relation vector of query patch i and key patch j and that of "
    "patch i with itself; a_ij is the row at the offset, and 0 where the table does not reach.",
)


def definition(pe: PositionEmbedding) -> AffinityDefinition:
    """Return what the affinity of this embedding's patches means."""
    if pe.kind == "function" and pe.is_pairwise:
        return _COMPUTED_BIAS
    if pe.kind == "relative" and any(table.part.endswith("yx") for table in pe.tables):
        return _JOINT
    is_sum = pe.kind == "relative" and pe.relation.combine == "sum"
    return _SUMMED if is_sum else DEFINITIONS[pe.kind]


@runtime_checkable
class Affinity(Protocol):
    """The patch-to-patch map of one layer, computed only as far as it is asked for."""

    @property
    def num_heads(self) -> int:
        """Maps of this layer."""
        ...

    @property
    def undefined(self) -> Bool[np.ndarray, " patches"]:
        """Which patches have no affinity in some head: a zero or a non-finite row."""
        ...

    def map(self, head: int | None) -> Float32[np.ndarray, "patches patches"]:
        """The map of one head, or the mean over heads; undefined pairs are NaN."""
        ...

    def rows(
        self, index: Sequence[int], head: int | None = None
    ) -> Float32[np.ndarray, "heads rows patches"]:
        """Some rows of every head's map, or of one head's."""
        ...


@dataclass(frozen=True, eq=False)
class Products:
    """Affinity as inner products of one row a patch.

    Attributes:
        factors: per head, the rows; those of undefined patches are zero.
        missing: which patches are undefined, per head.
    """

    factors: Float32[np.ndarray, "heads patches features"]
    missing: Bool[np.ndarray, "heads patches"]

    @property
    def num_heads(self) -> int:
        """Maps of this layer."""
        return len(self.factors)

    @property
    def undefined(self) -> Bool[np.ndarray, " patches"]:
        """Which patches are undefined in some head."""
        return _any(self.missing)

    def map(self, head: int | None) -> Float32[np.ndarray, "patches patches"]:
        """The map of one head, or the mean over heads.

        One product gives the mean: the heads' rows side by side are one long row.
        """
        heads = slice(None) if head is None else slice(head, head + 1)
        rows = np.moveaxis(self.factors[heads], 0, 1).reshape(self.factors.shape[1], -1)
        result = rows @ rows.T  # x @ x.T costs BLAS half a product, and is exactly symmetric
        if len(self.factors[heads]) > 1:
            result /= self.num_heads
        missing = _any(self.missing[heads])
        return _bounded(result, missing, missing)

    def rows(
        self, index: Sequence[int], head: int | None = None
    ) -> Float32[np.ndarray, "heads rows patches"]:
        """Some rows of every head's map, or of one head's."""
        heads = slice(None) if head is None else slice(head, head + 1)
        factors, missing = self.factors[heads], self.missing[heads]
        result = factors[:, list(index)] @ factors.transpose(0, 2, 1)
        for values, absent in zip(result, missing):
            _bounded(values, absent[list(index)], absent)
        return np.asarray(result)


@dataclass(frozen=True, eq=False)
class Values:
    """Affinity as the maps themselves; what is not finite is missing."""

    values: Float32[np.ndarray, "heads patches patches"]

    @property
    def num_heads(self) -> int:
        """Maps of this layer."""
        return len(self.values)

    @property
    def undefined(self) -> Bool[np.ndarray, " patches"]:
        """Which patches have a value that is not finite, in some head."""
        return _any(~np.isfinite(self.values).all(axis=2))

    def map(self, head: int | None) -> Float32[np.ndarray, "patches patches"]:
        """The map of one head, or the mean over heads."""
        with np.errstate(invalid="ignore"):
            values = self.values.mean(axis=0) if head is None else self.values[head]
        return _finite(values)

    def rows(
        self, index: Sequence[int], head: int | None = None
    ) -> Float32[np.ndarray, "heads rows patches"]:
        """Some rows of every head's map, or of one head's."""
        heads = slice(None) if head is None else slice(head, head + 1)
        return _finite(self.values[heads, list(index)])


def affinity(kind: Kind, tables: Sequence[LayerPE], relation: Relation | None = None) -> Affinity:
    """Return the affinity of one layer's patches.

    Args:
        kind: the kind of scheme; `DEFINITIONS` says what it means for each.
        tables: the layer's table; several only for `relative`, whose parts they are.
        relation: how those parts make the vector of a pair.
    """
    table = tables[0]
    if kind == "bias" or (kind == "function" and table.is_pairwise):
        return Values(table.patches)
    if kind == "relative":
        return Values(relation_cosines(tables, relation or Relation()))
    return _phase_cosines(table.patches) if kind == "phases" else cosines(table.patches)


def cosines(vectors: Shaped[np.ndarray, "patches features"]) -> Products:
    """Return the cosines of all pairs of rows.

    Equal to `torch.nn.functional.cosine_similarity` to 1e-6, but for rows whose norm is 0 or not
    finite: their cosines are undefined, and NaN here, where torch says 0 or spreads the NaN.
    """
    rows = vectors.astype(np.float64)  # float32 squares overflow from 1e19 on
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        norms = np.sqrt(np.einsum("nd,nd->n", rows, rows))
        missing = ~np.isfinite(norms) | (norms == 0)
        rows *= (1 / np.where(missing, 1, norms))[:, None]
    rows[missing] = 0
    return Products(rows.astype(np.float32)[None], missing[None])


def undefined_rows(vectors: Shaped[np.ndarray, "patches features"]) -> int:
    """Return how many rows have no cosine: they are zero, or not finite."""
    return int(np.count_nonzero(cosines(vectors).undefined))


def _phase_cosines(phases: Float32[np.ndarray, "heads patches angles"]) -> Products:
    """cos(a − b) = cos a cos b + sin a sin b: an inner product, averaged over the angles."""
    missing = ~np.isfinite(phases).all(axis=-1)
    angles = np.where(missing[..., None], 0, phases)
    factors = np.concatenate([np.cos(angles), np.sin(angles)], axis=-1)
    factors /= np.sqrt(np.float32(phases.shape[-1]))
    factors[missing] = 0
    return Products(factors, missing)


def _any(flags: Bool[np.ndarray, "heads patches"]) -> Bool[np.ndarray, " patches"]:
    """Whether a flag is set in some head."""
    return np.asarray(flags.any(axis=0))


def _bounded(values: np.ndarray, missing_rows: np.ndarray, missing: np.ndarray) -> np.ndarray:
    """Keep rounding inside [−1, 1], and set what is undefined to NaN, in place."""
    np.clip(values, -1, 1, out=values)
    if missing.any():
        values[missing_rows] = np.nan
        values[:, missing] = np.nan
    return values


def _finite(values: np.ndarray) -> np.ndarray:
    return np.where(np.isfinite(values), values, np.float32(np.nan))
