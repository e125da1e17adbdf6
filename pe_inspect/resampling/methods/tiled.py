"""A table of one window, repeated over the grid."""

from __future__ import annotations

from typing import Final

import numpy as np

from pe_inspect.arrays import Float
from pe_inspect.errors import UsageError
from pe_inspect.resampling.registering import plain
from pe_inspect.resampling.resampler import Separable, Size, Table

__all__ = ["tiled"]


def _repeated(source: int, target: int, exact: bool) -> Float[np.ndarray, "target source"]:
    """Place i of the grid is place i mod `source` of the window."""
    del exact
    return np.eye(source)[np.arange(target) % source]


def _refuse_parts(table: Table, size: Size) -> None:
    rows, columns, _ = table.shape
    if size[0] % rows or size[1] % columns:
        raise UsageError(
            f"--method tiled repeats a window of {rows}×{columns} patches, and a grid of "
            f"{size[0]}×{size[1]} is no whole number of them. Pass a --grid whose sides are "
            f"multiples of {rows} and {columns}."
        )


tiled: Final = Separable("tiled", _repeated, _refuse_parts)
plain(
    tiled,
    call="tile: place (y, x) has row (y mod H, x mod W)",
    source="Hiera with absolute windows (arXiv:2311.05613); timm/models/hiera.py, hieradet_sam2.py",
    kinds=("vectors",),
)
