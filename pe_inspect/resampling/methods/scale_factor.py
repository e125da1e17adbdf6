"""DINO's way: a scale factor instead of a size, which must be a little too large to be enough.

PyTorch floors source · scale_factor to the number of cells, and (61 / 14) · 14 is 60.999… in
binary; DINO adds 0.1 to the target. The factor, not the size, then places the cells.
Sources: facebookresearch/dino issue 8; facebookresearch/dinov2 PR 378.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Final

import numpy as np

from pe_inspect.arrays import Float
from pe_inspect.errors import UsageError
from pe_inspect.resampling.matrices import (
    centres,
    middles,
    taps_matrix,
    triangle,
    windowed_matrix,
)
from pe_inspect.resampling.methods.torch_modes import SOURCE, cubic, cubic_antialiased
from pe_inspect.resampling.registering import GRIDS, plain
from pe_inspect.resampling.resampler import Separable

__all__ = [
    "bilinear_offset", "cells_made", "offset", "offset_aa", "sizes_that_fail", "without_offset",
]  # fmt: skip

KLUDGE: Final = 0.1


def cells_made(source: int, target: int, added: float = 0.0) -> int:
    """How many cells `scale_factor=(target + added) / source` makes of `source`."""
    return math.floor(source * ((target + added) / source))


def sizes_that_fail(source: int, below: int = 200) -> tuple[int, ...]:
    """The targets under `below` that a scale factor without offset misses by one cell."""
    return tuple(target for target in range(1, below) if cells_made(source, target) != target)


def _with_offset(source: int, target: int, exact: bool) -> Float[np.ndarray, "target source"]:
    scale = 1 / ((target + KLUDGE) / source)
    return taps_matrix(cubic, 2, centres(source, target, exact=exact, scale=scale), source)


def _with_offset_aa(source: int, target: int, exact: bool) -> Float[np.ndarray, "target source"]:
    if source == target:  # PyTorch's antialiased kernel skips an axis that keeps its side
        return np.eye(source)
    scale = 1 / ((target + KLUDGE) / source)
    places = middles(source, target, exact=exact, scale=scale)
    return windowed_matrix(cubic_antialiased, 2, places, source, scale)


def _bilinear(source: int, target: int, exact: bool) -> Float[np.ndarray, "target source"]:
    scale = 1 / ((target + KLUDGE) / source)
    return taps_matrix(triangle, 1, centres(source, target, exact=exact, scale=scale), source)


def _without(source: int, target: int, exact: bool) -> Float[np.ndarray, "target source"]:
    scale = 1 / (target / source)
    return taps_matrix(cubic, 2, centres(source, target, exact=exact, scale=scale), source)


def _refuse_short(table: Float[np.ndarray, "rows columns channels"], size: tuple[int, int]) -> None:
    short = list(_short_of(table, size))
    if short:
        raise UsageError(
            f"--method scale-factor: {'; '.join(short)}. Use --method dinov2 (which adds 0.1 to "
            "the target), or bicubic (which names the size)."
        )


def _short_of(
    table: Float[np.ndarray, "rows columns channels"], size: tuple[int, int]
) -> Iterator[str]:
    for axis, source, target in zip(("rows", "columns"), table.shape, size):
        made = cells_made(source, target)
        if made != target:
            yield f"scale_factor={target}/{source} makes {made} {axis} of {source}, not {target}"


offset: Final = Separable("scale-factor+0.1", _with_offset)
bilinear_offset: Final = Separable("bilinear-scale-factor+0.1", _bilinear)
offset_aa: Final = Separable("scale-factor+0.1-aa", _with_offset_aa)
without_offset: Final = Separable("scale-factor", _without, _refuse_short)

for _resampler, _given, _antialias in (
    (offset, "((H + 0.1)/h, (W + 0.1)/w)", False),
    (offset_aa, "((H + 0.1)/h, (W + 0.1)/w)", True),
    (without_offset, "(H/h, W/w)", False),
):
    plain(
        _resampler,
        call=f"scale_factor={_given}, mode='bicubic', antialias={_antialias}",
        source=SOURCE,
        kinds=GRIDS,
    )
