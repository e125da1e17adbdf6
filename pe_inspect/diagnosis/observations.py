"""What is true of an embedding and harmless: in words, and in numbers."""

from __future__ import annotations

import numpy as np

from pe_inspect.arrays import Float
from pe_inspect.diagnosis.neighbours import Positions
from pe_inspect.kinds.position_embedding import PositionEmbedding

__all__ = ["measured", "observed"]

AXIS_SHARE = 0.9  # of a half's variance along one axis, for it to encode that axis


def measured(pe: PositionEmbedding) -> dict[str, float]:
    """How alike neighbours are (Moran's I), where there are tables of vectors."""
    if not pe.scheme_kind.has_token_rows:
        return {}
    table = pe.tables[0]
    return {"neighbour_correlation": Positions(table.patches).correlation(table.grid_size)}


def observed(pe: PositionEmbedding) -> tuple[str, ...]:
    """Which prefix rows are zero, and which half of the channels encodes which axis."""
    if not pe.scheme_kind.has_token_rows:
        return ()
    return (*_zero_prefix(pe), *_axes(pe))


def _zero_prefix(pe: PositionEmbedding) -> tuple[str, ...]:
    zero = [i for i, row in enumerate(pe.tables[0].prefix) if not row.any()]
    if not zero:
        return ()
    return (
        f"prefix row {', '.join(map(str, zero))} is zero: that token has no position of its own",
    )


def _axes(pe: PositionEmbedding) -> tuple[str, ...]:
    """Say which half of the channels encodes x and which y, where the halves part."""
    table = pe.tables[0]
    grid = table.patches.reshape(*table.grid_size, -1).astype(np.float64)
    if min(table.grid_size) < 2 or grid.shape[-1] < 2 or not np.isfinite(grid).all():
        return ()
    halves = np.array_split(grid, 2, axis=-1)
    names = [_axis(half) for half in halves]
    if None in names or names[0] == names[1]:
        return ()
    return (f"the first half of the channels encodes {names[0]}, the second {names[1]}",)


def _axis(half: Float[np.ndarray, "rows columns channels"]) -> str | None:
    """Return the axis along which nine tenths of the variance lie."""
    centred = half - half.mean(axis=(0, 1))
    total = np.square(centred).mean()
    if not total > 0:
        return None
    along_y = np.square(centred.mean(axis=1)).mean() / total
    along_x = np.square(centred.mean(axis=0)).mean() / total
    if along_x > AXIS_SHARE:
        return "x (columns)"
    return "y (rows)" if along_y > AXIS_SHARE else None
