"""Fixed sine and cosine tables, recognised by their values.

Every row of such a table has squared norm D/2, since sin² + cos² = 1 for each of D/2 angles; a
learned table's rows have about 0.0004·D after its usual initialisation. Libraries differ in which
axis comes first, in how sines and cosines are arranged, and in the last frequency.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Final

import numpy as np

from pe_inspect.arrays import Float32
from pe_inspect.families.reading.vectors import is_sinusoidal

__all__ = ["Variant", "one_dimensional", "two_dimensional"]

TEMPERATURE: Final = 10000.0
VALUE_TOLERANCE: Final = 0.01

_KNOWN: Final = {
    ("x", "pairs", "n"): "LaPE, s-chh",
    ("x", "halves", "n"): "MAE",
    ("x", "halves", "n-1"): "MoCo v3, big_vision, SimpleViT",
    ("y", "sines first", "n"): "timm",
}


@dataclass(frozen=True)
class Variant:
    """How a fixed table is laid out.

    Attributes:
        arrangement: `"pairs"` (sin, cos of each frequency in turn), `"halves"` (all sines of an
            axis, then its cosines) or `"sines first"` (the sines of both axes, then the cosines).
        axes: `"x first"` or `"y first"`; empty for a table over one axis.
        ends_at_temperature: whether the last frequency is 1/10000, the exponents being
            k/(n−1); otherwise they are k/n.
        known: who lays it out so; empty for a layout of no known library.
    """

    arrangement: str
    axes: str = ""
    ends_at_temperature: bool = False
    known: str = ""

    def __str__(self) -> str:
        parts = (self.axes, self.arrangement, "exponents k/(n−1)" * self.ends_at_temperature)
        text = ", ".join(filter(None, parts))
        return f"{text} (as in {self.known})" if self.known else text


def one_dimensional(table: Float32[np.ndarray, "tokens embed_dim"]) -> Variant | None:
    """Return the layout of a table over one axis of positions; `None` where it has none.

    Positions count from 0 at the first row, the class token's included (as in LaPE), or from the
    first row that is not zero.

    Source: arXiv:1706.03762, section 3.5.
    """
    if not is_sinusoidal(table):
        return None
    rows, dim = table.shape
    start = int(np.argmax(table.any(axis=1)))
    exponents = np.arange(dim // 2) / (dim // 2)
    angles = np.arange(rows - start)[:, None] * TEMPERATURE**-exponents
    for arrangement in ("pairs", "halves"):
        if _close(_arranged(angles, arrangement), table[start:]):
            return Variant(arrangement)
    return None


def two_dimensional(
    patches: Float32[np.ndarray, "patches embed_dim"], grid_size: tuple[int, int]
) -> Variant | None:
    """Return the layout of a table over rows and columns; `None` where no definition fits."""
    if patches.shape[1] % 4 or not is_sinusoidal(patches):
        return None
    for variant, table in _definitions(grid_size, patches.shape[1]):
        if _close(table, patches):
            return variant
    return None


def is_separable(
    patches: Float32[np.ndarray, "patches embed_dim"], grid_size: tuple[int, int]
) -> bool:
    """Whether each channel changes along one axis of the grid only."""
    field = patches.reshape(*grid_size, -1)
    along_y = np.ptp(field, axis=0).max(axis=0) > VALUE_TOLERANCE
    along_x = np.ptp(field, axis=1).max(axis=0) > VALUE_TOLERANCE
    return not bool(np.any(along_x & along_y)) and bool(along_x.any() and along_y.any())


def _definitions(
    grid_size: tuple[int, int], dim: int
) -> Iterator[tuple[Variant, Float32[np.ndarray, "patches embed_dim"]]]:
    bands = dim // 4
    y, x = (axis.reshape(-1, 1) for axis in np.indices(grid_size))
    for steps, named in ((bands, "n"), (bands - 1, "n-1"))[:bands]:
        frequencies = TEMPERATURE ** -(np.arange(bands) / steps)
        for first, arrangement in product("xy", ("pairs", "halves", "sines first")):
            axes = (x, y) if first == "x" else (y, x)
            angles = [axis * frequencies for axis in axes]
            known = _KNOWN.get((first, arrangement, named), "")
            variant = Variant(arrangement, f"{first} first", named == "n-1", known)
            yield variant, _of_both_axes(angles, arrangement)


def _of_both_axes(angles: list[np.ndarray], arrangement: str) -> np.ndarray:
    if arrangement == "sines first":
        return np.concatenate([np.sin(a) for a in angles] + [np.cos(a) for a in angles], axis=1)
    return np.concatenate([_arranged(axis, arrangement) for axis in angles], axis=1)


def _arranged(angles: np.ndarray, arrangement: str) -> np.ndarray:
    parts = [np.sin(angles), np.cos(angles)]
    if arrangement == "halves":
        return np.concatenate(parts, axis=1)
    return np.stack(parts, axis=-1).reshape(len(angles), -1)


def _close(defined: np.ndarray, table: Float32[np.ndarray, "tokens embed_dim"]) -> bool:
    return defined.shape == table.shape and bool(np.all(np.abs(defined - table) <= VALUE_TOLERANCE))
