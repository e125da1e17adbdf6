"""Schemes with a vector for each offset: the cosine of a pair's vector with a patch's own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import isqrt
from typing import Final

import numpy as np

from pe_inspect.arrays import Float, Float32
from pe_inspect.kinds.parts import LayerPE, Relation

__all__ = ["has_joint_table", "relation_cosines", "relation_names"]

JOINT: Final = "yx"


def relation_names(parts: Sequence[str]) -> tuple[str, ...]:
    """The heads of a relative scheme: `"query"`, `"value"`, from `"query.y"`, `"query.x"`, …."""
    return tuple(dict.fromkeys(part.rpartition(".")[0] for part in parts))


def has_joint_table(tables: Sequence[LayerPE]) -> bool:
    """Whether some table is for both axes at once."""
    return any(table.part.endswith(JOINT) for table in tables)


def relation_cosines(
    tables: Sequence[LayerPE], relation: Relation
) -> Float32[np.ndarray, "heads patches patches"]:
    """Return cos(a_ij, a_ii) of every pair of patches, per head.

    It depends on the offset alone: computed once an offset, then laid out by pair. A pair that
    no table reaches (`relation.beyond == "none"`) has the zero vector, and cosine 0.

    Args:
        tables: the parts of one layer.
        relation: how they make the vector of a pair.
    """
    grid = tables[0].grid_size
    return np.stack(
        [_by_pair(_by_offset(vectors), relation, grid) for vectors in _heads(tables, relation)]
    )


def _heads(
    tables: Sequence[LayerPE], relation: Relation
) -> Iterator[tuple[Float[np.ndarray, "offsets_y offsets_x channels"], np.ndarray]]:
    """Yield each head's vectors, by offset from the least on, and which of them exist."""
    parts = {table.part: table for table in tables}
    for name in relation_names(list(parts)):
        prefix = f"{name}." if name else ""
        if f"{prefix}{JOINT}" in parts:
            yield _joint(parts[f"{prefix}{JOINT}"], relation)
        else:
            yield _axial(parts[f"{prefix}y"], parts[f"{prefix}x"], relation)


def _axial(table_y: LayerPE, table_x: LayerPE, relation: Relation) -> tuple[np.ndarray, np.ndarray]:
    height, width = table_y.grid_size
    rows, in_rows = _reached(len(table_y.patches), height, relation)
    columns, in_columns = _reached(len(table_x.patches), width, relation)
    y = table_y.patches[rows].astype(np.float64)[:, None]
    x = table_x.patches[columns].astype(np.float64)[None, :]
    exists = in_rows[:, None] & in_columns[None, :]
    if relation.combine == "sum":
        return y + x, exists
    shape = (len(rows), len(columns))
    wide = [np.broadcast_to(axis, (*shape, axis.shape[-1])) for axis in (y, x)]
    return np.concatenate(wide, axis=-1), exists


def _joint(table: LayerPE, relation: Relation) -> tuple[np.ndarray, np.ndarray]:
    sides = _sides(len(table.patches), table.grid_size)
    vectors = table.patches.reshape(*sides, -1).astype(np.float64)
    rows, in_rows = _reached(sides[0], table.grid_size[0], relation)
    columns, in_columns = _reached(sides[1], table.grid_size[1], relation)
    return vectors[np.ix_(rows, columns)], in_rows[:, None] & in_columns[None, :]


def _sides(count: int, grid_size: tuple[int, int]) -> tuple[int, int]:
    """The offsets along each axis of a joint table: all of the grid's, else those of a square."""
    height, width = (2 * side - 1 for side in grid_size)
    return (height, width) if height * width == count else (isqrt(count), isqrt(count))


def _reached(count: int, side: int, relation: Relation) -> tuple[np.ndarray, np.ndarray]:
    """The rows of a table of 2k + 1 for the offsets 1 − side … side − 1, and which it reaches."""
    k, offsets = count // 2, np.arange(1 - side, side)
    exists = (np.abs(offsets) <= k) | (relation.beyond == "clip")
    return np.clip(offsets, -k, k) + k, exists


def _by_offset(
    vectors: tuple[np.ndarray, np.ndarray],
) -> Float32[np.ndarray, "offsets_y offsets_x"]:
    """The cosine of each offset's vector with that of offset 0."""
    values, exists = vectors
    itself = values[values.shape[0] // 2, values.shape[1] // 2]
    with np.errstate(invalid="ignore", divide="ignore"):
        squares = np.einsum("yxd,yxd->yx", values, values)
        cosines = (values @ itself) / np.sqrt(squares * (itself @ itself))
    return np.where(exists, np.clip(cosines, -1, 1), 0).astype(np.float32)


def _by_pair(
    by_offset: Float32[np.ndarray, "offsets_y offsets_x"],
    relation: Relation,
    grid_size: tuple[int, int],
) -> Float32[np.ndarray, "patches patches"]:
    if relation.offset == "query-key":
        by_offset = by_offset[::-1, ::-1]
    height, width = grid_size
    rows = _offsets(height)[:, None, :, None]
    columns = _offsets(width)[None, :, None, :]
    return np.asarray(by_offset[rows, columns].reshape(height * width, height * width))


def _offsets(side: int) -> np.ndarray:
    """Key position − query position along one axis, counted from 0: (query, key)."""
    positions = np.arange(side)
    return positions[None, :] - positions[:, None] + side - 1
