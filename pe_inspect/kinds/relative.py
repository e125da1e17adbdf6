"""Kind `relative`: a vector for each offset along an axis, (prefix rows + offsets, head_dim)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

import numpy as np

from pe_inspect.arrays import Float32
from pe_inspect.errors import UsageError
from pe_inspect.kinds.affinity import Affinity, Values
from pe_inspect.kinds.parts import LayerPE, Relation
from pe_inspect.kinds.relations import has_joint_table, relation_cosines, relation_names
from pe_inspect.kinds.scheme_kind import AffinityDefinition, Kind, SchemeKind

__all__ = ["RELATIVE", "RelativeVectors", "check_offsets", "is_clipped"]

_START: Final = "cos(a_ij, a_ii), between the relation vector of query patch i and key patch j and"
_CONCATENATED: Final = AffinityDefinition(
    "relation cosine",
    f"{_START} that of patch i with itself; a_ij joins the rows of the two tables at the clipped "
    "offsets in y and x. Query and value tables count as two heads.",
)
_SUMMED: Final = AffinityDefinition(
    "relation cosine",
    f"{_START} that of patch i with itself; a_ij is the sum of the rows of the two tables at the "
    "offsets in y and x.",
)
_JOINT: Final = AffinityDefinition(
    "relation cosine",
    f"{_START} that of patch i with itself; a_ij is the row at the offset, and 0 where the table "
    "does not reach.",
)


@dataclass(frozen=True, repr=False)
class RelativeVectors(SchemeKind):
    """Vectors by offset: Shaw's, SAM's, MViTv2's. A layer has several tables, by axis and use.

    They are laid out as (2H − 1, 1, D) or (1, 2W − 1, D), or both: offsets along an axis.
    """

    name: ClassVar[str] = "relative"
    word: ClassVar[Kind] = "relative"
    is_by_offset: ClassVar[bool] = True
    has_parts: ClassVar[bool] = True
    has_reach: ClassVar[bool] = True
    in_attention: ClassVar[bool] = True
    _affinity: ClassVar[AffinityDefinition] = _CONCATENATED

    def expected_shape(self, table: LayerPE) -> tuple[int | None, ...]:  # noqa: ARG002
        """(offsets, channels): a table may reach less or more far than its grid."""
        return (None, None)

    def definition(self, tables: Sequence[LayerPE], relation: Relation) -> AffinityDefinition:
        """What the cosine is of: rows side by side, their sum, or one row for both axes."""
        if has_joint_table(tables):
            return _JOINT
        return _SUMMED if relation.combine == "sum" else _CONCATENATED

    def affinity(self, tables: Sequence[LayerPE], relation: Relation | None = None) -> Affinity:
        """The cosines of relation vectors."""
        return Values(relation_cosines(tables, relation or Relation()))

    def map_names(self, tables: Sequence[LayerPE]) -> tuple[str, ...]:
        """`"query"`, `"key"`, `"value"`, as far as tables have such names."""
        names = relation_names([table.part for table in tables])
        return names if all(names) else ()

    def num_maps(self, tables: Sequence[LayerPE]) -> int:
        """One map for each relation vector."""
        return len(relation_names([table.part for table in tables]))

    def laid_out(self, table: LayerPE) -> Float32[np.ndarray, "rows columns channels"]:
        """(offsets in y, offsets in x, channels)."""
        check_offsets(table)
        return table.patches.reshape(*_offsets(table, table.grid_size), -1)

    def layout_shape(self, table: LayerPE, grid_size: tuple[int, int]) -> tuple[int, int]:
        """The offsets along the axes that the table's part names."""
        return _offsets(table, grid_size)


RELATIVE: Final = RelativeVectors()


def is_clipped(table: LayerPE) -> bool:
    """Whether relative vectors stop short of their grid: all farther patches share the last one."""
    rows, columns = _offsets(table, table.grid_size)
    return len(table.patches) < rows * columns


def check_offsets(table: LayerPE) -> None:
    """Refuse relative vectors that do not reach over their grid, or reach beyond it.

    Raises:
        UsageError: with what to do instead.
    """
    rows, columns = _offsets(table, table.grid_size)
    found, wanted = len(table.patches), rows * columns
    if is_clipped(table):
        raise UsageError(
            f"{table.name} is clipped, not resampled: its {found} offsets serve any grid as they "
            "are, and there is nothing to interpolate."
        )
    if found > wanted:
        raise UsageError(
            f"{table.name} has {found} offsets, and its {table.grid_size[0]}×"
            f"{table.grid_size[1]} grid only {wanted}: it reaches beyond the grid (HaloNet), and "
            "no library resamples such a table."
        )


def _offsets(table: LayerPE, grid_size: tuple[int, int]) -> tuple[int, int]:
    """The offsets of a table on a grid: along the axes that its part names."""
    axes = table.part.rpartition(".")[2]
    rows, columns = (2 * side - 1 if axis in axes else 1 for axis, side in zip("yx", grid_size))
    return rows, columns
