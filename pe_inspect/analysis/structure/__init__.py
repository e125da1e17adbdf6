"""The pictures as numbers: how local, two-dimensional, translation-invariant, hierarchical."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from pe_inspect.analysis import questions
from pe_inspect.analysis.common.notebook_repr import Shown
from pe_inspect.analysis.structure.baselines import baselines_of
from pe_inspect.analysis.structure.hierarchy import hierarchy
from pe_inspect.analysis.structure.indices import Indices
from pe_inspect.analysis.structure.layer_rows import (
    StructureRow,
    StructureRows,
    rows_of,
    stored_tables,
)
from pe_inspect.kinds.frames import notes_of_frames, row_of_frames
from pe_inspect.kinds.position_embedding import PositionEmbedding
from pe_inspect.kinds.within_memory import notes_of_sampling, within_memory

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["StructureResult", "structure"]


@dataclass(frozen=True, eq=False)
class StructureResult(Shown):
    """Every index of the stored table and of each layer, with floors and baselines.

    Attributes:
        pe: what was analysed.
        ln_eps: overrides the ε of every norm.
    """

    question: ClassVar[str] = "structure"

    pe: PositionEmbedding
    ln_eps: float | None = None

    def __repr__(self) -> str:
        return f"StructureResult({self.pe.headline})"

    @property
    def parameters(self) -> dict[str, Any]:
        """The choices behind the result, by their command-line names."""
        return {"ln_eps": self.ln_eps}

    @cached_property
    def _pass(self) -> StructureRows:
        return rows_of(self.pe, self.ln_eps)

    @property
    def all_rows(self) -> tuple[StructureRow, ...]:
        """The stored table first, then every layer."""
        return self._pass.rows

    @property
    def hierarchy(self) -> float:
        """1 − the mean correlation of the maps of all pairs of layers; NaN for one layer."""
        return hierarchy(self._pass.correlations)

    @cached_property
    def baselines(self) -> Mapping[str, Indices]:
        """The indices of tables that learned nothing, by name."""
        stored, tables = self.all_rows[0], stored_tables(self.pe)
        alike = self.pe.scheme_kind.affinity(tables, self.pe.relation)
        width = 0 if stored.table is None else stored.table.shape[1]
        return baselines_of(
            alike, stored.view.grid_size, stored.table, width, stored.view.num_frames
        )

    @property
    def finding(self) -> str:
        """The answer in one sentence, with its numbers."""
        return f"The hierarchy over layers is {self.hierarchy:.2f}."

    def summary(self) -> dict[str, float]:
        """Return the indices of the stored table, and the hierarchy over layers."""
        return {**self.all_rows[0].indices.row(), "hierarchy": self.hierarchy}

    def rows(self) -> list[dict[str, Any]]:
        """Return one dictionary a row: what `to_frame` holds, without pandas."""
        return [{"layer": row.name, **row.indices.row()} for row in self.all_rows]

    def to_frame(self) -> DataFrame:
        """Return one row a layer, that of the stored table first."""
        from pandas import DataFrame

        return DataFrame(self.rows())

    @cached_property
    def notes(self) -> tuple[str, ...]:
        """Every correction and omission, in words."""
        return (*notes_of_sampling(self.pe), *notes_of_frames(self.pe))


@questions.register("structure")
def structure(
    pe: PositionEmbedding, *, ln_eps: float | None = None, max_memory: int | None = None
) -> StructureResult:
    """Say what the maps look like in numbers, for the stored table and for every layer.

    Args:
        pe: one scheme of one checkpoint.
        ln_eps: overrides the ε of every norm.
        max_memory: bytes that maps may take, as in `similarity`.

    Raises:
        UndecidedGrid: nothing tells the grid.
    """
    return StructureResult(within_memory(row_of_frames(pe, "structure"), max_memory), ln_eps)
