"""How alike every patch is to one patch, on the source grid and on the target grid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from pe_inspect.analysis.interpolate.directions import Directions
from pe_inspect.analysis.interpolate.resampled import ResampledTable
from pe_inspect.analysis.interpolate.two_grids import covering, row_norms
from pe_inspect.arrays import Float32
from pe_inspect.errors import UsageError
from pe_inspect.kinds.scheme_kind import SchemeKind

__all__ = ["QueryMaps", "checked_token", "places", "query_maps"]


@dataclass(frozen=True, eq=False)
class QueryMaps:
    """How alike every patch is to one patch, before and after.

    Attributes:
        token: (row, column) of the patch in the source grid.
        token_after: the target patch that covers its centre.
        before: (H, W): cosine, or for a bias the bias itself (mean over heads).
        after: (H′, W′), likewise.
    """

    token: tuple[int, int]
    token_after: tuple[int, int]
    before: Float32[np.ndarray, "rows columns"]
    after: Float32[np.ndarray, "new_rows new_columns"]


def query_maps(done: ResampledTable, token: Sequence[int] | None) -> QueryMaps:
    """The maps of one patch, the middle one by default, and of the target patch that covers it.

    Raises:
        UsageError: the patch lies outside the grid.
    """
    grids = [places(values, is_bias=done.is_bias) for values in (done.before, done.after)]
    place = checked_token(token, grids[0])
    row, column = (int(covering(n, m)[at]) for at, n, m in zip(place, *grids))
    read = _bias_map if done.is_bias else partial(_cosine_map, kind=done.kind)
    after = read(done.after, (row, column))
    return QueryMaps(place, (row, column), read(done.before, place), after)


def places(values: np.ndarray, *, is_bias: bool) -> tuple[int, int]:
    """The patches of a bias; of any other table, its positions."""
    rows, columns = (((n + 1) // 2) if is_bias else n for n in values.shape[:2])
    return rows, columns


def checked_token(token: Sequence[int] | None, grid_size: tuple[int, int]) -> tuple[int, int]:
    """The patch that was asked for, or the middle one.

    Raises:
        UsageError: it lies outside the grid.
    """
    rows, columns = grid_size
    if token is not None and len(token) != len(grid_size):
        raise UsageError(f"--token takes a row and a column, as in 7,7; not {list(token)}.")
    row, column = (rows // 2, columns // 2) if token is None else token
    if not (0 <= row < rows and 0 <= column < columns):
        raise UsageError(
            f"--token {row},{column} is outside the {rows}×{columns} grid: "
            f"rows 0–{rows - 1}, columns 0–{columns - 1}."
        )
    return row, column


def _cosine_map(
    table: Float32[np.ndarray, "rows columns channels"], token: tuple[int, int], *, kind: SchemeKind
) -> Float32[np.ndarray, "rows columns"]:
    rows = kind.features(table)
    directions = Directions(rows, row_norms(rows))
    one = (slice(token[0], token[0] + 1), slice(token[1], token[1] + 1))
    return np.asarray(np.clip(directions.cosines(directions.at(one)), -1, 1))


def _bias_map(
    offsets: Float32[np.ndarray, "offset_rows offset_columns heads"], token: tuple[int, int]
) -> Float32[np.ndarray, "rows columns"]:
    """The mean over heads of the query's bias on each key: offset query − key, so reversed."""
    rows, columns = ((side + 1) // 2 for side in offsets.shape[:2])
    block = offsets[token[0] : token[0] + rows, token[1] : token[1] + columns]
    mean: np.ndarray = block[::-1, ::-1].mean(axis=-1)
    return mean
