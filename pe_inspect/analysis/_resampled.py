"""One table before and after resampling; what it did to the table is computed when asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from pe_inspect._typing import Bool, Float, Float32, Int
from pe_inspect.analysis._numbers import mean_of
from pe_inspect.analysis._resampling._planes import planes
from pe_inspect.analysis._resampling._resampler import Resampler
from pe_inspect.analysis._spectrum import Power, power, radial
from pe_inspect.errors import UsageError
from pe_inspect.position_embedding import Kind

__all__ = ["ResampledTable", "SourceTable", "border", "covering", "features", "row_norms"]


@dataclass(frozen=True, eq=False)
class SourceTable:
    """A table as it was, laid out by place, with what all methods compare themselves to.

    Attributes:
        layer: where it enters.
        values: (rows, columns, channels); see `_layouts`.
        kind: of the scheme.
    """

    layer: str
    values: Float32[np.ndarray, "rows columns channels"]
    kind: Kind

    @cached_property
    def features(self) -> Float32[np.ndarray, "rows columns features"]:
        """The rows whose cosine is the kind's affinity."""
        return features(self.values, self.kind)

    @cached_property
    def norms(self) -> Float32[np.ndarray, "rows columns"]:
        """The L2 norm of each position's row."""
        return row_norms(self.features)

    @cached_property
    def mean_norm(self) -> float:
        """Their mean."""
        return mean_of(self.norms)

    @cached_property
    def power(self) -> Power:
        """Its Fourier coefficients, squared."""
        return power(self.values)


@dataclass(frozen=True, eq=False)
class ResampledTable:
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
    native: ResampledTable | None = None

    @property
    def layer(self) -> str:
        """Where it enters."""
        return self.source.layer

    @property
    def before(self) -> Float32[np.ndarray, "rows columns channels"]:
        """(H, W, D); for a bias the table of offsets, (2H − 1, 2W − 1, heads)."""
        return self.source.values

    @cached_property
    def after(self) -> Float32[np.ndarray, "new_rows new_columns channels"]:
        """The same on the target grid; on the same grid the very table."""
        return self.resampler(self.before, self.size)

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
    def kind(self) -> Kind:
        """Of the scheme."""
        return self.source.kind

    @property
    def features(self) -> Float32[np.ndarray, "new_rows new_columns features"]:
        """The rows of `after` whose cosine is the kind's affinity."""
        return features(self.after, self.kind)

    @cached_property
    def features_back(self) -> Float32[np.ndarray, "rows columns features"]:
        """Those of `back`."""
        return features(self.back, self.kind)

    @property
    def is_bias(self) -> bool:
        """Whether values are numbers that are added to logits, not directions."""
        return self.kind == "bias"

    @property
    def is_by_offset(self) -> bool:
        """Whether positions are offsets."""
        return self.kind in ("bias", "relative")

    @property
    def norms_before(self) -> Float32[np.ndarray, "rows columns"]:
        """The L2 norm of each row of the source table, by position."""
        return self.source.norms

    @cached_property
    def norms_after(self) -> Float32[np.ndarray, "new_rows new_columns"]:
        """The L2 norm of each row of the resampled table, by position."""
        return row_norms(self.features)

    @cached_property
    def error_map(self) -> Float32[np.ndarray, "rows columns"]:
        """Round-trip error of each position of `before`, in units of its mean row norm."""
        lost = self.features_back - self.source.features
        scale = self.source.mean_norm
        relative: np.ndarray = row_norms(lost) / np.float32(scale if scale > 0 else np.nan)
        return relative

    @property
    def error_by_ring(self) -> Float[np.ndarray, " rings"]:
        """The mean of `error_map` over each ring of positions, from the edge (or the ends) in."""
        rows, columns = self.error_map.shape
        ring = rings(rows, columns)
        if 1 in (rows, columns):
            ring = _to_end(rows * columns).reshape(rows, columns)
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
        return power(self.after)

    @cached_property
    def measures(self) -> Mapping[str, float]:
        """The numbers of `DEFINITIONS`."""
        from pe_inspect.analysis._measures import measured

        return measured(self)


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


def features(
    values: Float32[np.ndarray, "rows columns channels"], kind: Kind
) -> Float32[np.ndarray, "rows columns features"]:
    """The rows whose cosine is the kind's affinity: of angles, their cosines and sines."""
    if kind != "phases":
        return values
    turned = np.concatenate([np.cos(values), np.sin(values)], axis=-1)
    turned /= np.sqrt(np.float32(values.shape[-1]))
    return turned


def row_norms(values: Float32[np.ndarray, "rows columns channels"]) -> np.ndarray:
    """The L2 norm of each row."""
    squares = np.einsum("rcd,rcd->rc", values, values, dtype=np.float64)
    return np.asarray(np.sqrt(squares).astype(values.dtype))


def covering(source: int, target: int) -> Int[np.ndarray, " source"]:
    """On one axis, the target patch that covers each source patch's centre."""
    return (2 * np.arange(source) + 1) * target // (2 * source)


def border(rows: int, columns: int) -> Bool[np.ndarray, "rows columns"]:
    """The outermost ring of a grid."""
    return np.asarray(rings(rows, columns) == 0)


def rings(rows: int, columns: int) -> Int[np.ndarray, "rows columns"]:
    """How many patches lie between each place and the nearest edge."""
    return np.asarray(np.minimum(_to_end(rows)[:, None], _to_end(columns)))


def _to_end(side: int) -> Int[np.ndarray, " side"]:
    place = np.arange(side)
    return np.asarray(np.minimum(place, side - 1 - place))
