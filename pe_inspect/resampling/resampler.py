"""What resamples one table: two matrices where rows and columns part, else a function of all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol, TypeAlias, runtime_checkable

import numpy as np

from pe_inspect.arrays import Float
from pe_inspect.resampling.apply import apply

__all__ = ["AxisMatrix", "Matrices", "Resampler", "Separable", "Size", "Table", "Whole"]

Size: TypeAlias = tuple[int, int]
Table: TypeAlias = np.ndarray  # (rows, columns, channels)
Check: TypeAlias = Callable[[Table, Size], None]
Matrices: TypeAlias = tuple[np.ndarray, np.ndarray]
AxisMatrix: TypeAlias = Callable[[int, int, bool], np.ndarray]
"""(source, target, exactly) → the weights of every source cell for every target cell."""


@runtime_checkable
class Resampler(Protocol):
    """A table (rows, columns, channels) on one grid → on another, in the table's own precision."""

    @property
    def name(self) -> str:
        """The plain method that it is."""
        ...

    def __call__(self, table: Table, size: Size) -> Table:
        """Resample; the same size returns the table as it is."""
        ...

    def check(self, table: Table, size: Size) -> None:
        """Raise a UsageError for a table or a size that it does not take."""
        ...

    def matrices(self, source: Size, size: Size, *, exact: bool = True) -> Matrices | None:
        """(W_h, W_w) with new = W_h · table · W_wᵀ; `None` where there are no such two.

        In float64, or, where not `exact`, in float32 as they are applied to a float32 table.
        """
        ...


def _takes_all(_table: Table, _size: Size) -> None:
    """Refuse nothing."""


@dataclass(frozen=True)
class Separable:
    """A method that treats rows and columns alike and apart."""

    name: str
    axis: AxisMatrix
    check: Check = _takes_all

    def __call__(self, table: Table, size: Size) -> Table:
        """Resample; the same size returns the table as it is."""
        if table.shape[:2] == size:
            return table
        source, exact = (table.shape[0], table.shape[1]), table.dtype == np.float64
        return apply(table, *self.matrices(source, size, exact=exact))

    def matrices(self, source: Size, size: Size, *, exact: bool = True) -> Matrices:
        """W_h (new_rows, rows) and W_w (new_columns, columns)."""
        rows, columns = (_matrix(self.axis, *sides, exact) for sides in zip(source, size))
        return rows, columns


@dataclass(frozen=True)
class Whole:
    """A method that is a function of the whole table."""

    name: str
    resample: Callable[[Table, Size], Table]
    check: Check = _takes_all

    def __call__(self, table: Table, size: Size) -> Table:
        """Resample; the same size returns the table as it is."""
        return table if table.shape[:2] == size else self.resample(table, size)

    def matrices(self, source: Size, size: Size, *, exact: bool = True) -> Matrices | None:
        """It has none."""
        del source, size, exact
        return None


@lru_cache(maxsize=256)
def _matrix(
    axis: AxisMatrix, source: int, target: int, exact: bool
) -> Float[np.ndarray, "target source"]:
    made = axis(source, target, exact)
    matrix = made if exact else made.astype(np.float32)
    matrix.flags.writeable = False
    return matrix
