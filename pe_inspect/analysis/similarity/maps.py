"""What the figures of `similarity` show: thinned maps of all layers, and a map a patch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pe_inspect.arrays import Float32

__all__ = ["Overview", "Tiles"]


@dataclass(frozen=True, eq=False)
class Overview:
    """Every layer's N×N map, small enough for one figure.

    Attributes:
        maps: per layer, (n, n): the mean over heads, or the chosen head.
        block: the side of the squares of patches that were averaged to one pixel; 1 where none
            were.
        thinned_from: N, before the averaging.
    """

    maps: tuple[Float32[np.ndarray, "_ _"], ...]
    block: tuple[int, ...]
    thinned_from: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Tiles:
    """The centre of ViT's Figure 7: for patch (i, j), its map over all patches.

    Attributes:
        values: (tile rows, tile columns, H, W); `values[a, b, r, c]` is the affinity of patch
            (rows[a], columns[b]) with patch (r, c).
        rows: the grid rows that have tiles: all, or, on a large grid, evenly spaced ones.
        columns: the grid columns that have tiles.
        name: whose map it is: `"stored table"`, or a layer.
        grid_size: (H, W).
    """

    values: Float32[np.ndarray, "tile_rows tile_columns rows columns"]
    rows: tuple[int, ...]
    columns: tuple[int, ...]
    name: str
    grid_size: tuple[int, int]

    @property
    def is_thinned(self) -> bool:
        """Whether some patches have no tile."""
        return (len(self.rows), len(self.columns)) != self.grid_size
