"""Each kind's table as a grid of channels that can be resampled, and back.

==========  ======================================  ==========================================
kind        laid out as                             positions are
==========  ======================================  ==========================================
vectors     (H, W, embed_dim)                       patches
bias        (2H − 1, 2W − 1, heads)                 offsets, query − key
relative    (2H − 1, 1, D), (1, 2W − 1, D) or both  offsets along an axis, or both
phases      (H, W, heads · angles)                  patches
==========  ======================================  ==========================================
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Final

import numpy as np

from pe_inspect.arrays import Float32
from pe_inspect.errors import UsageError
from pe_inspect.kinds.offsets import offset_table
from pe_inspect.kinds.position_embedding import LayerPE, PositionEmbedding

__all__ = [
    "check_offsets",
    "grid_for",
    "in_proportion",
    "is_clipped",
    "is_rounded_up",
    "laid_out",
    "put_back",
    "source_grid",
    "target_shape",
]

_BLOCK: Final = re.compile(r"blocks\.\d+")
_MOST_HALVINGS: Final = 6  # stages of a pyramid


def laid_out(pe: PositionEmbedding, table: LayerPE) -> Float32[np.ndarray, "rows columns channels"]:
    """Return a table's values by place.

    Raises:
        UsageError: a bias is no function of the offset, or a relative table is of another size.
    """
    if pe.is_pairwise:
        return offset_table(table).offsets
    if pe.kind == "phases":
        by_patch = table.values.transpose(1, 0, 2)
        return by_patch.reshape(*table.grid_size, -1)
    if pe.kind == "relative":
        check_offsets(table)
        rows, columns = _offsets(table, table.grid_size)
        return table.patches.reshape(rows, columns, -1)
    return table.patches.reshape(*table.grid_size, -1)


def target_shape(pe: PositionEmbedding, table: LayerPE, size: tuple[int, int]) -> tuple[int, int]:
    """Return the rows and columns of the table's layout when the embedding is on `size`."""
    rows, columns = grid_for(pe, table, size)
    if pe.is_pairwise:
        return 2 * rows - 1, 2 * columns - 1
    if pe.kind == "relative":
        return _offsets(table, (rows, columns))
    return rows, columns


def put_back(
    pe: PositionEmbedding,
    table: LayerPE,
    after: Float32[np.ndarray, "rows columns channels"],
    size: tuple[int, int],
) -> LayerPE:
    """Return the table on its new grid, prefix rows as they were."""
    return LayerPE(
        table.layer, _values(pe, table, after), grid_for(pe, table, size), table.num_prefix_rows,
        table.part,
    )  # fmt: skip


def _values(
    pe: PositionEmbedding, table: LayerPE, after: Float32[np.ndarray, "rows columns channels"]
) -> Float32[np.ndarray, "..."]:
    if pe.is_pairwise:
        return replace(offset_table(table), offsets=after).expanded()
    if pe.kind == "phases":
        heads, _, angles = table.values.shape
        return after.reshape(-1, heads, angles).transpose(1, 0, 2)
    return np.concatenate([table.prefix, after.reshape(-1, after.shape[-1])])


def source_grid(pe: PositionEmbedding) -> tuple[int, int]:
    """Return the grid that the target replaces: of windows and stages, the largest."""
    return max((table.grid_size for table in pe.tables), key=lambda grid: grid[0] * grid[1])


def grid_for(pe: PositionEmbedding, table: LayerPE, size: tuple[int, int]) -> tuple[int, int]:
    """Return the grid of one table where the largest is on `size`.

    Stages of a pyramid (MViTv2, LeViT) keep their proportion; windows between blocks that see the
    whole grid (SAM) stay as they are.
    """
    largest = source_grid(pe)
    if pe.kind == "relative" and table.grid_size != largest and _BLOCK.fullmatch(table.layer):
        return table.grid_size
    return in_proportion(table.grid_size, largest, size, rounding_up=is_rounded_up(pe))


def is_rounded_up(pe: PositionEmbedding) -> bool:
    """Whether stages of half the size have the larger half of an odd one.

    LeViT's, EfficientFormer's and CoAtNet's have: they count every second patch from the first.
    MViTv2's tables and Visformer's have the smaller half, and so have windows, which do not shrink
    stage by stage (GC-ViT's 7, 7, 14 and 7 patches).
    """
    areas = [table.grid_size[0] * table.grid_size[1] for table in pe.tables]
    is_pyramid = pe.family == "distance_bias" or areas == sorted(areas, reverse=True)
    return pe.is_pairwise and is_pyramid


def in_proportion(
    grid_size: tuple[int, int],
    largest: tuple[int, int],
    size: tuple[int, int],
    *,
    rounding_up: bool = False,
) -> tuple[int, int]:
    """Return what a grid becomes where the largest one of its model becomes `size`.

    A stage whose grid is the largest one halved is halved so again (LeViT's 14, 7 and 4 become
    17, 9 and 5; Visformer's 28, 14 and 7 become 30, 15 and 7); any other keeps its proportion,
    rounded down.

    Args:
        grid_size: of the stage.
        largest: of the model.
        size: that the largest becomes.
        rounding_up: whether half of an odd side is the larger half, where both fit.
    """
    if grid_size == largest:  # one patch is its own half
        return size
    for way in (rounding_up, not rounding_up):
        for times in range(1, _MOST_HALVINGS):
            if _halved(largest, times, rounding_up=way) == grid_size:
                return _halved(size, times, rounding_up=way)
    rows, columns = (max(1, side * new // old) for side, old, new in zip(grid_size, largest, size))
    return rows, columns


def _halved(grid: tuple[int, int], times: int, *, rounding_up: bool) -> tuple[int, int]:
    more = 2**times - 1 if rounding_up else 0
    rows, columns = (max(1, (side + more) // 2**times) for side in grid)
    return rows, columns


def _offsets(table: LayerPE, grid_size: tuple[int, int]) -> tuple[int, int]:
    """The offsets of a relative table on a grid: along the axes that its part names."""
    axes = table.part.rpartition(".")[2]
    rows, columns = (2 * side - 1 if axis in axes else 1 for axis, side in zip("yx", grid_size))
    return rows, columns


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
