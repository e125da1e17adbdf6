"""Kind `bias`: a number for each pair of tokens, (heads, tokens, tokens), added to the logits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Final

import numpy as np

from pe_inspect.arrays import Float32
from pe_inspect.kinds.affinity import Affinity, Values
from pe_inspect.kinds.offsets import offset_table
from pe_inspect.kinds.parts import LayerPE, Relation, Step, fitting
from pe_inspect.kinds.scheme_kind import AffinityDefinition, HeldScheme, Kind, SchemeKind

__all__ = ["BIAS", "Bias"]


@dataclass(frozen=True, repr=False)
class Bias(SchemeKind):
    """A stored bias on attention: Swin, BEiT, LeViT, LaPE's RPE. It is laid out by offset."""

    name: ClassVar[str] = "bias"
    word: ClassVar[Kind] = "bias"
    is_pairwise: ClassVar[bool] = True
    has_heads: ClassVar[bool] = True
    has_row_vectors: ClassVar[bool] = False
    is_by_offset: ClassVar[bool] = True
    in_attention: ClassVar[bool] = True
    _affinity: ClassVar[AffinityDefinition] = AffinityDefinition(
        "attention bias",
        "b_ij, the number that is added to the attention logit of query patch i and key patch j.",
        None,
    )

    def expected_shape(self, table: LayerPE) -> tuple[int | None, ...]:
        """(heads, tokens, tokens)."""
        tokens = table.num_prefix_rows + table.num_patches
        return (None, tokens, tokens)

    def width(self, tables: Sequence[LayerPE]) -> str:
        """The heads, from first to last layer."""
        heads = ", ".join(dict.fromkeys(str(table.shape[0]) for table in tables))
        return f"{heads} head{'s' * (heads != '1')}"

    def affinity(self, tables: Sequence[LayerPE], relation: Relation | None = None) -> Affinity:  # noqa: ARG002
        """The bias itself."""
        return Values(tables[0].patches)

    def steps(self, scheme: HeldScheme) -> tuple[Step, ...]:
        """As stored, or normalised over the keys where the bias has a norm of its own."""
        norms = scheme.norms_named("attn.pe_norm")
        return tuple(
            Step(table.layer, table, "joined", fitting(norms.get(table.layer), table))
            for table in scheme.tables
        )

    def laid_out(self, table: LayerPE) -> Float32[np.ndarray, "rows columns channels"]:
        """(2H − 1, 2W − 1, heads), by offset query − key."""
        return offset_table(table).offsets

    def layout_shape(self, table: LayerPE, grid_size: tuple[int, int]) -> tuple[int, int]:  # noqa: ARG002
        """The offsets of a grid."""
        return 2 * grid_size[0] - 1, 2 * grid_size[1] - 1

    def put_back(
        self, table: LayerPE, after: Float32[np.ndarray, "rows columns channels"]
    ) -> Float32[np.ndarray, "heads tokens tokens"]:
        """The bias of every pair, that of prefix tokens as it was."""
        return replace(offset_table(table), offsets=after).expanded()


BIAS: Final = Bias()
