"""Every index of `structure` for one affinity map and its table: a row of `structure.csv`.

    indices = indices_of(cosines(table.patches).map(None), table.grid_size, table.patches)
    indices.row()["half_radius"]

Nothing here knows of layers, kinds or files: other questions ask the same numbers of their maps.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

import numpy as np

from pe_inspect.analysis.structure.map_indices import MapIndices, map_indices
from pe_inspect.analysis.structure.table_indices import TableIndices, table_indices
from pe_inspect.arrays import Float32

__all__ = [
    "COLUMNS",
    "MAP_COLUMNS",
    "TABLE_COLUMNS",
    "Indices",
    "axis_names",
    "indices_of",
    "sides_of",
]

MAP_COLUMNS: Final = (
    "ssdc_l1",
    "ssdc_l2",
    "translation_share",
    "half_radius",
    "monotone_share",
    "mirror_x",
    "mirror_y",
    "transpose",
)
"""What the affinity map tells."""
TABLE_COLUMNS: Final = ("row_share", "column_share", "interaction_share", "effective_rank")
"""What only a table of vectors tells."""
COLUMNS: Final = (*MAP_COLUMNS, *TABLE_COLUMNS)

NAN: Final = float("nan")
LARGE: Final = 1024  # patches, from which on the table is analysed beside the map


@dataclass(frozen=True, eq=False)
class Indices:
    """The numbers of one map and, where there is one, its table of vectors; NaN where undefined.

    Attributes:
        sides: of the grid: (H, W), or (H, T, W) with the frames of a row side by side.
        of_map: what the map tells.
        of_table: what the table tells; `None` of a kind without vectors.
    """

    sides: tuple[int, ...]
    of_map: MapIndices
    of_table: TableIndices | None = None

    def row(self) -> dict[str, float]:
        """Return the columns of `structure.csv`, and with frames those of time."""
        found, table, mirror = self.of_map, self.of_table, self.of_map.mirror
        shares = table.shares if table else (NAN,) * len(self.sides)
        time = {"mirror_t": mirror[1], "time_share": shares[1]} if len(self.sides) > 2 else {}
        return {
            "ssdc_l1": found.ssdc_l1,
            "ssdc_l2": found.ssdc_l2,
            "translation_share": found.translation_share,
            "half_radius": found.half_radius,
            "monotone_share": found.monotone_share,
            "mirror_x": mirror[-1],
            "mirror_y": mirror[0],
            "transpose": found.transpose,
            "row_share": shares[0],
            "column_share": shares[-1],
            "interaction_share": table.interaction if table else NAN,
            "effective_rank": table.effective_rank if table else NAN,
            **time,
        }


def indices_of(
    values: Float32[np.ndarray, "patches patches"],
    grid_size: Sequence[int],
    table: Float32[np.ndarray, "patches channels"] | None = None,
    *,
    num_frames: int = 1,
    num_maps: int = 0,
) -> Indices:
    """Return every index of one layer.

    Args:
        values: the affinity of all pairs of patches, query by key, row-major; NaN where undefined.
        grid_size: (H, W) patches; with frames, W is that of all frames of a row.
        table: the vectors behind the map, a row a patch; `None` where there are none.
        num_frames: how many frames stand side by side.
        num_maps: principal components whose maps are wanted.
    """
    sides = sides_of(grid_size, num_frames)
    if table is None:
        return Indices(sides, map_indices(values, sides))
    if len(values) < LARGE:
        return Indices(sides, map_indices(values, sides), table_indices(table, sides, num_maps))
    with ThreadPoolExecutor(1) as beside:
        of_table = beside.submit(table_indices, table, sides, num_maps)
        return Indices(sides, map_indices(values, sides), of_table.result())


def sides_of(grid_size: Sequence[int], num_frames: int = 1) -> tuple[int, ...]:
    """Return the sides of a grid in the order of its patches: (H, W), or (H, T, W)."""
    height, width = grid_size
    return (height, num_frames, width // num_frames) if num_frames > 1 else (height, width)


def axis_names(sides: Sequence[int]) -> tuple[str, ...]:
    """Return a letter for each side: y and x, with the frames t between them."""
    return ("y", "t", "x") if len(sides) > 2 else ("y", "x")
