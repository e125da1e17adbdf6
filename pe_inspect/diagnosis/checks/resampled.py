"""Tables that were resampled from a smaller grid and not trained since.

Upsampling along an axis is a matrix of g rows and g′ < g columns, so that what it makes lies in a
space of g′ dimensions. The part of a table outside that space is measured by a projection. A table
that was trained, before or after, has a part there: stochastic gradients leave noise in every
direction, a few per cent of its size and more.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np

from pe_inspect.arrays import Float, Float32
from pe_inspect.diagnosis.checks import on_embedding
from pe_inspect.diagnosis.fields import Field, command, fields, is_learned, noun
from pe_inspect.finding import Finding
from pe_inspect.kinds.position_embedding import PositionEmbedding
from pe_inspect.kinds.precision import DIGITS, narrowest_type
from pe_inspect.resampling.methods.torch_modes import (
    align_corners,
    bicubic,
    bicubic_aa,
    bilinear,
)

__all__ = ["resampled"]

METHODS: Final = (bicubic_aa, bicubic, bilinear, align_corners)
# Of a table's size, root mean square. What rounding to 24, 11 or 8 binary digits leaves outside is
# half of this; trained tables have 0.02 there and more.
LEAST_OUTSIDE: Final = 1e-5
# What the next smaller side must leave outside: a table without noise nears every large space
# little by little, one that was resampled falls into its own.
CLIFF: Final = 3e-3


@dataclass(frozen=True)
class _Smaller:
    grid_size: tuple[int, int]
    method: str
    outside: float


@on_embedding("resampled")
def resampled(pe: PositionEmbedding) -> Iterator[Finding]:
    """Learned tables that some resampling of a smaller table could have made."""
    if not is_learned(pe):
        return
    found = [(field, smaller) for field in fields(pe) if (smaller := _smaller(field)) is not None]
    if not found:
        return
    field, smaller = found[0]
    what = "table of offsets" if pe.scheme_kind.is_by_offset else "grid"
    sizes = [f"{rows}×{columns}" for rows, columns in (field.grid_size, smaller.grid_size)]
    yield Finding(
        "resampled",
        noun(pe),
        f"The {sizes[0]} {what} of {noun(pe)} is {sizes[1]}, resampled ({smaller.method}): "
        f"{smaller.outside:.1e} of it lies outside what that can make (trained: over "
        f"{_allowed(field):.1g}).",
        "It was resampled and not trained since: it holds no more than the smaller table did, and "
        "resampling it again adds to the error.",
        "Go back to the checkpoint of the smaller grid and resample from there: "
        f"{command(pe, 'interpolate --grid HxW --method all')}.",
        {
            "grid_size": list(field.grid_size),
            "from_grid_size": list(smaller.grid_size),
            "method": smaller.method,
            "outside": smaller.outside,
            "threshold": _allowed(field),
            "tables": len(found),
        },
    )


def _smaller(field: Field) -> _Smaller | None:
    """Return the smallest grid, and the method, from which a table could have been resampled."""
    values, allowed = field.values.astype(np.float64), _allowed(field)
    if not np.isfinite(values).all() or np.all(field.rows == field.rows[0]):
        return None
    centred = values - values.mean(axis=(0, 1))
    candidates = []
    for method in METHODS:
        sides = [_along(centred, axis, method.name, allowed) for axis in (0, 1)]
        grid = sides[0][0], sides[1][0]
        outside = max(side[1] for side in sides)
        if grid != field.grid_size and min(grid) > 1:
            candidates.append(_Smaller(grid, method.name, outside))
    return min(candidates, key=lambda c: (c.grid_size, c.outside), default=None)


def _allowed(field: Field) -> float:
    """What rounding may leave outside: twice its largest relative error."""
    digits = DIGITS[narrowest_type(field.values)]
    return max(LEAST_OUTSIDE, 2.0 ** (1 - digits))


def _along(
    values: Float[np.ndarray, "rows columns channels"], axis: int, method: str, allowed: float
) -> tuple[int, float]:
    """Return the smallest side that one axis could come from, and the part outside; else itself."""
    rows = np.moveaxis(values, axis, 0).reshape(values.shape[axis], -1)
    gram = rows @ rows.T
    side, total = len(rows), float(np.trace(gram))
    parts = [_outside(gram, total, _span(method, smaller, side)) for smaller in range(1, side)]
    for smaller, part in enumerate(parts, start=1):
        before = parts[smaller - 2] if smaller > 1 else 1.0
        if part < allowed and before > max(CLIFF, 3 * allowed):
            return smaller, part
    return side, 0.0


def _outside(
    gram: Float[np.ndarray, "side side"], total: float, span: Float[np.ndarray, "side smaller"]
) -> float:
    inside = float(np.einsum("ij,jk,ki->", span.T, gram, span, optimize=True))
    return float(np.sqrt(max(total - inside, 0.0) / total))


@lru_cache(maxsize=256)
def _span(method: str, smaller: int, side: int) -> Float[np.ndarray, "side smaller"]:
    """An orthonormal basis of all that a method can make of `smaller` cells along an axis."""
    chosen = next(each for each in METHODS if each.name == method)
    along, _ = chosen.matrices((smaller, smaller), (side, side))
    basis: Float32[np.ndarray, "..."] = np.linalg.qr(along)[0]
    return basis
