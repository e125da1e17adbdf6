"""One table before and after resampling, and what is measured of both, made when asked for."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar

import numpy as np

from pe_inspect.analysis.common.numbers import mean_of
from pe_inspect.analysis.interpolate.by_products import (
    ByProducts,
    covering,
    row_norms,
)
from pe_inspect.analysis.interpolate.cosine_map import CosineMap
from pe_inspect.analysis.interpolate.directions import Directions
from pe_inspect.analysis.interpolate.inner_products import MAX_POSITIONS, InnerProducts
from pe_inspect.analysis.interpolate.spectrum import Power, in_parts, power, radial
from pe_inspect.arrays import Bool, Float, Float32, Int
from pe_inspect.errors import UsageError
from pe_inspect.kinds.offset_network import OffsetNetwork
from pe_inspect.kinds.scheme_kind import SchemeKind
from pe_inspect.resampling.resampler import Matrices, Resampler, Size
from pe_inspect.resampling.rotary_planes import planes

__all__ = ["SourceTable", "TableOnTwoGrids", "border", "covering", "rings", "row_norms", "turns_of"]

Made = TypeVar("Made")


@dataclass(frozen=True, eq=False)
class SourceTable:
    """A table as it was, laid out by place, with what all methods compare themselves to.

    Attributes:
        layer: where it enters.
        values: (rows, columns, channels); see `SchemeKind.laid_out`.
        kind: of the scheme.
        network: what computes it for any window, where something does.
    """

    layer: str
    values: Float32[np.ndarray, "rows columns channels"]
    kind: SchemeKind
    network: OffsetNetwork | None = None
    _made: dict[Hashable, Any] = field(default_factory=dict, init=False, repr=False)

    @property
    def sides(self) -> Size:
        """(rows, columns) of the table."""
        return self.values.shape[0], self.values.shape[1]

    def once(self, key: Hashable, make: Callable[[], Made]) -> Made:
        """Return what was made under a key; methods whose matrices are equal share it so."""
        if key not in self._made:
            self._made[key] = make()
        found: Made = self._made[key]
        return found

    @cached_property
    def products(self) -> InnerProducts | None:
        """Inner products of its rows; `None` where they do not tell, or cost more than tables."""
        tells = self.kind.has_row_vectors and np.isfinite(self.values).all()
        fits = self.sides[0] * self.sides[1] <= MAX_POSITIONS
        return InnerProducts(self.values) if tells and fits else None

    @cached_property
    def features(self) -> Float32[np.ndarray, "rows columns features"]:
        """The rows whose cosine is the kind's affinity."""
        return self.kind.features(self.values)

    @cached_property
    def norms(self) -> Float32[np.ndarray, "rows columns"]:
        """The L2 norm of each position's row."""
        return row_norms(self.features)

    @cached_property
    def mean_norm(self) -> float:
        """The mean L2 norm of its rows."""
        return mean_of(self.norms)

    @cached_property
    def directions(self) -> Directions:
        """Its rows, for cosines: with their lengths taken out."""
        return Directions(self.features, self.norms)

    @cached_property
    def cosine_map(self) -> CosineMap:
        """The cosines of its rows."""
        return CosineMap(self.directions.query_map())

    @cached_property
    def power(self) -> Power:
        """Its Fourier coefficients, squared."""
        return power(in_parts(self.values))


@dataclass(frozen=True, eq=False)
class ByTables:
    """Measures of tables as they are: of any method and any values."""

    table: TableOnTwoGrids

    @cached_property
    def norms(self) -> Float[np.ndarray, "new_rows new_columns"]:
        """The L2 norm of each new row."""
        return row_norms(self.table.features)

    @cached_property
    def _made(self) -> Directions:
        return Directions(self.table.features, self.norms)

    @cached_property
    def _back(self) -> Directions:
        features = self.table.features_back
        return Directions(features, row_norms(features))

    @property
    def query_map(self) -> Float[np.ndarray, "queries positions"]:
        """Cosines of the target places that cover the source places' centres."""
        return self._made.at(np.ix_(*self.table.covering)).query_map()

    @property
    def query_map_back(self) -> Float[np.ndarray, "queries positions"]:
        """Cosines of the rows that come back."""
        return self._back.query_map()

    @property
    def cosines_back(self) -> Float[np.ndarray, "rows columns"]:
        """Cosine of each row that comes back with the source's."""
        return self._back.cosines(self.table.source.directions)

    @property
    def errors_back(self) -> Float[np.ndarray, "rows columns"]:
        """The L2 distance of each row that comes back from the source's."""
        return row_norms(self.table.features_back - self.table.source.features)

    def lagged(self, axis: int, lag: int) -> Float[np.ndarray, "rows columns"]:
        """Cosines of the new rows that lie so many places apart on an axis."""
        return self._made.lagged(axis, lag)


@dataclass(frozen=True, eq=False)
class TableOnTwoGrids:
    """A table on the source grid and on the target grid.

    Attributes:
        source: the table as it was.
        size: (rows, columns) of the target layout.
        resampler: the plain method.
        native: the same table by the family's own rule; `None` where this is it.
    """

    source: SourceTable
    size: tuple[int, int]
    resampler: Resampler
    native: TableOnTwoGrids | None = None

    @property
    def layer(self) -> str:
        """The layer that the table enters at."""
        return self.source.layer

    @property
    def before(self) -> Float32[np.ndarray, "rows columns channels"]:
        """(H, W, D); for a bias the table of offsets, (2H − 1, 2W − 1, heads)."""
        return self.source.values

    @cached_property
    def after(self) -> Float32[np.ndarray, "new_rows new_columns channels"]:
        """`before` on the target grid; where that is its own, the table itself."""
        return self._once("after", self.matrices, lambda: self.resampler(self.before, self.size))

    def _once(self, what: str, pair: Matrices | None, make: Callable[[], Made]) -> Made:
        """Return what `make` gives, made once for all methods whose matrices are these."""
        if pair is None:
            return make()
        return self.source.once((what, *(matrix.tobytes() for matrix in pair)), make)

    @cached_property
    def matrices(self) -> Matrices | None:
        """The matrices of rows and columns that lead to the target grid, as they are applied."""
        return self._matrices(self.source.sides, self.size)

    def _matrices(self, source: Size, size: Size) -> Matrices | None:
        if source == size:  # the very table, whatever the method's matrices are
            rows, columns = (np.eye(side, dtype=np.float32) for side in size)
            return rows, columns
        return self.resampler.matrices(source, size, exact=False)

    @cached_property
    def measured_from(self) -> ByTables | ByProducts:
        """What its measures are read from: inner products, or the tables themselves."""
        products, pair = self.source.products, self.matrices
        if products is None or pair is None:
            return ByTables(self)
        back = self._matrices(self.size, self.source.sides) if self._leads_back() else None
        return self._once(
            f"seen{None if back is None else [matrix.tobytes() for matrix in back]}", pair,
            lambda: ByProducts(products, _in_double(pair), _in_double(back), self.covering),
        )  # fmt: skip

    def _leads_back(self) -> bool:
        shape = np.broadcast_to(np.float32(0), (*self.size, 1))
        try:
            self.resampler.check(shape, self.source.sides)
        except UsageError:
            return False
        return True

    @property
    def covering(self) -> tuple[Int[np.ndarray, " rows"], Int[np.ndarray, " columns"]]:
        """The target place that covers each source place's centre, by axis."""
        rows, columns = (covering(*sides) for sides in zip(self.source.sides, self.size))
        return rows, columns

    @cached_property
    def back(self) -> Float32[np.ndarray, "rows columns channels"]:
        """`after` resampled to the source grid by the same method; NaN where it has no way back."""
        rows, columns, _ = self.before.shape
        try:
            self.resampler.check(self.after, (rows, columns))
        except UsageError:
            return np.full_like(self.before, np.nan)
        return self.resampler(self.after, (rows, columns))

    @property
    def kind(self) -> SchemeKind:
        """The kind of the scheme."""
        return self.source.kind

    @property
    def features(self) -> Float32[np.ndarray, "new_rows new_columns features"]:
        """The rows of `after` whose cosine is the kind's affinity."""
        return self.kind.features(self.after)

    @property
    def features_back(self) -> Float32[np.ndarray, "rows columns features"]:
        """The rows of `back` whose cosine is the kind's affinity."""
        return self.kind.features(self.back)

    @property
    def is_bias(self) -> bool:
        """Whether values are numbers that are added to logits, not directions."""
        return self.kind.is_pairwise

    @property
    def is_by_offset(self) -> bool:
        """Whether positions are offsets."""
        return self.kind.is_by_offset

    @property
    def norms_before(self) -> Float32[np.ndarray, "rows columns"]:
        """The L2 norm of each row of the source table, by position."""
        return self.source.norms

    @property
    def norms_after(self) -> Float[np.ndarray, "new_rows new_columns"]:
        """The L2 norm of each row of the resampled table, by position."""
        return self.measured_from.norms

    @cached_property
    def error_map(self) -> Float[np.ndarray, "rows columns"]:
        """Round-trip error of each position of `before`, in units of its mean row norm."""
        scale = self.source.mean_norm
        relative: np.ndarray = self.measured_from.errors_back / np.float32(
            scale if scale > 0 else np.nan
        )
        return relative

    @property
    def error_by_ring(self) -> Float[np.ndarray, " rings"]:
        """The mean of `error_map` over each ring of positions, from the edge (or the ends) in."""
        ring = rings(*self.error_map.shape)
        return np.array([mean_of(self.error_map[ring == k]) for k in range(ring.max() + 1)])

    @property
    def spectra(self) -> tuple[Float[np.ndarray, " before"], Float[np.ndarray, " after"]]:
        """The power of the source and of the resampled table by cycles per image."""
        return radial(self.source.power), radial(self.power)

    @property
    def turns(self) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
        """Of angles: (rows, columns) before, and after: cycles over the image, fastest first."""
        return turns_of(self.before), turns_of(self.after)

    @cached_property
    def power(self) -> Power:
        """The Fourier coefficients of the resampled table, squared."""
        return self._once("power", self.matrices, self._power)

    def _power(self) -> Power:
        if self.matrices is None:
            return power(in_parts(self.after))
        return power(self.resampler(part, self.size) for part in in_parts(self.before))


def _in_double(pair: Matrices | None) -> Any:
    return None if pair is None else tuple(matrix.astype(np.float64) for matrix in pair)


def turns_of(
    angles: Float32[np.ndarray, "rows columns angles"],
) -> tuple[np.ndarray, np.ndarray]:
    """Cycles that each angle makes over rows, and over columns, fastest first; zeros left out."""
    found = planes(angles)
    cycles = (
        np.abs(slope) * side / (2 * np.pi) for slope, side in zip((found.a, found.b), angles.shape)
    )
    rows, columns = (np.sort(each[each > 0])[::-1] for each in cycles)
    return rows, columns


def border(rows: int, columns: int) -> Bool[np.ndarray, "rows columns"]:
    """The outermost ring of a grid; of a single row, its two ends."""
    return np.asarray(rings(rows, columns) == 0)


def rings(rows: int, columns: int) -> Int[np.ndarray, "rows columns"]:
    """How many patches lie between each place and the nearest edge; of a single row, the end."""
    if 1 in (rows, columns):
        return _to_end(rows * columns).reshape(rows, columns)
    return np.asarray(np.minimum(_to_end(rows)[:, None], _to_end(columns)))


def _to_end(side: int) -> Int[np.ndarray, " side"]:
    place = np.arange(side)
    return np.asarray(np.minimum(place, side - 1 - place))
