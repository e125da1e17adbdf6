"""The values of a table that structure found, a row a token."""

from __future__ import annotations

import numpy as np

from pe_inspect.arrays import Float32
from pe_inspect.families.structure.structure import Structure
from pe_inspect.families.structure.tables import TableCandidate

__all__ = ["of_axes", "rows_of"]


def rows_of(structure: Structure, table: TableCandidate, i: int) -> Float32[np.ndarray, "rows dim"]:
    """Read one table, a row a token."""
    if table.combine != "none":
        return of_axes(structure, table, table.sides)
    values = structure.trunk.float32(table.tensors[i].key)
    return np.moveaxis(values, table.axis, -1).reshape(-1, table.dim)


def of_axes(
    structure: Structure, table: TableCandidate, sides: tuple[int, ...]
) -> Float32[np.ndarray, "rows dim"]:
    """Put the tables of the axes together: added, or side by side as in DETR."""
    own = table.dim if table.combine == "sum" else table.dim // len(table.sides)
    axes = [
        np.moveaxis(values, _channels(values.shape, own, table), -1).reshape(-1, own)[:side]
        for side, values in zip(sides, _by_axis(structure, table))
    ]
    placed = [
        axis.reshape(*(len(axis) if i == at else 1 for i in range(len(axes))), own)
        for at, axis in enumerate(axes)
    ]
    if table.combine == "sum":
        return np.asarray(sum(placed[1:], placed[0])).reshape(-1, own)
    shape = (*sides, own)
    order = placed if table.combine == "append" else placed[::-1]
    whole = [np.broadcast_to(axis, shape) for axis in order]
    return np.concatenate(whole, axis=-1).reshape(-1, table.dim)


def _by_axis(structure: Structure, table: TableCandidate) -> list[Float32[np.ndarray, "..."]]:
    """Read a tensor an axis, rows first; or one tensor that holds the columns', then the rows'."""
    values = [structure.trunk.float32(t.key) for t in table.tensors]
    if len(values) > 1:
        return values
    return list(np.moveaxis(values[0], table.axis, -1).reshape(len(table.sides), -1, table.dim))[
        ::-1
    ]


def _channels(shape: tuple[int, ...], dim: int, table: TableCandidate) -> int:
    """Return where the channels lie: where the first table has them, if that axis is as long."""
    has = table.axis < len(shape) and shape[table.axis] == dim
    return table.axis if has else len(shape) - 1 - shape[::-1].index(dim)
