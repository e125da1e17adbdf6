"""Figures of `structure`: profiles by offset, indices by layer, the table's waves, heads, turns."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pe_inspect.figures import drawings
from pe_inspect.figures.structure.heads import draw_distances, draw_heads
from pe_inspect.figures.structure.indices import draw_indices
from pe_inspect.figures.structure.profiles import draw_profiles
from pe_inspect.figures.structure.rotation import draw_rotation
from pe_inspect.figures.structure.table import draw_colours, draw_table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from pe_inspect.analysis.structure import StructureResult

__all__ = ["draw"]


@drawings.register("structure")
def draw(result: StructureResult, *, with_table: bool = True) -> dict[str, Figure]:
    """Draw a structure result.

    Args:
        result: what `structure` answered.
        with_table: whether the stored table's components, lengths and waves are drawn.

    Returns:
        `structure`: the affinity by offset, of the stored table and of every layer;
        `structure_indices`: the indices by layer. For vectors `structure_table`: principal
        components, lengths and waves of the stored table, and `structure_pca`: the first three
        components of every layer as colours. For heads `structure_heads` and
        `structure_distance`; for rotations `structure_rotary`.
    """
    figures = {"structure": draw_profiles(result), "structure_indices": draw_indices(result)}
    table = result.all_rows[0].indices.of_table
    if table is not None and len(table.maps):
        figures |= {"structure_table": draw_table(result)} if with_table else {}
        figures["structure_pca"] = draw_colours(result)
    if result.heads:
        figures["structure_heads"] = draw_heads(result)
        figures["structure_distance"] = draw_distances(result)
    if any(rotation.is_linear for rotation in result.rotations):
        figures["structure_rotary"] = draw_rotation(result)
    return figures
