"""A whole embedding on another grid: which size each of its tables takes, and how it is put back.

How one table is laid out as a grid of channels is its kind's answer: `SchemeKind.laid_out`.
"""

from __future__ import annotations

import re
from typing import Final

import numpy as np

from pe_inspect.arrays import Float32
from pe_inspect.kinds.parts import LayerPE
from pe_inspect.kinds.position_embedding import PositionEmbedding

__all__ = [
    "grid_for",
    "in_proportion",
    "is_rounded_up",
    "put_back",
    "source_grid",
    "target_shape",
]

_BLOCK: Final = re.compile(r"blocks\.\d+")
_MOST_HALVINGS: Final = 6  # stages of a pyramid


def target_shape(pe: PositionEmbedding, table: LayerPE, size: tuple[int, int]) -> tuple[int, int]:
    """Return the rows and columns of the table's layout when the embedding is on `size`."""
    return pe.scheme_kind.layout_shape(table, grid_for(pe, table, size))


def put_back(
    pe: PositionEmbedding,
    table: LayerPE,
    after: Float32[np.ndarray, "rows columns channels"],
    size: tuple[int, int],
) -> LayerPE:
    """Return the table on its new grid, prefix rows as they were."""
    values, grid_size = pe.scheme_kind.put_back(table, after), grid_for(pe, table, size)
    return LayerPE(table.layer, values, grid_size, table.num_prefix_rows, table.part)


def source_grid(pe: PositionEmbedding) -> tuple[int, int]:
    """Return the grid that the target replaces: of windows and stages, the largest."""
    return max((table.grid_size for table in pe.tables), key=lambda grid: grid[0] * grid[1])


def grid_for(pe: PositionEmbedding, table: LayerPE, size: tuple[int, int]) -> tuple[int, int]:
    """Return the grid of one table where the largest is on `size`.

    Stages of a pyramid (MViTv2, LeViT) keep their proportion; windows between blocks that see the
    whole grid (SAM) stay as they are.
    """
    largest, has_reach = source_grid(pe), pe.scheme_kind.has_reach
    if has_reach and table.grid_size != largest and _BLOCK.fullmatch(table.layer):
        return table.grid_size
    return in_proportion(table.grid_size, largest, size, rounding_up=is_rounded_up(pe))


def is_rounded_up(pe: PositionEmbedding) -> bool:
    """Whether stages of half the size have the larger half of an odd one.

    LeViT's, EfficientFormer's and CoAtNet's have: they count every second patch from the first.
    MViTv2's tables and Visformer's have the smaller half, and so have windows, which do not shrink
    stage by stage (GC-ViT's 7, 7, 14 and 7 patches).
    """
    areas = [table.grid_size[0] * table.grid_size[1] for table in pe.tables]
    is_pyramid = pe.facts.is_of_stages or areas == sorted(areas, reverse=True)
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
