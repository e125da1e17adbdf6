"""The affinity by offset, of every row, on one scale."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pe_inspect.arrays import Float, Float32
from pe_inspect.figures.layout.mosaics import Words, draw_page, plan

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from pe_inspect.analysis.structure import StructureResult
    from pe_inspect.analysis.structure.layer_rows import StructureRow

__all__ = ["draw_profiles", "plane_of", "scale_of"]

_READING = (
    "The mean affinity over all pairs of patches by the offset of the second from the first: "
    "offset 0 is in the middle, down and right are positive. Far offsets have few pairs."
)
_FRAMES = " Pairs of one frame."


def draw_profiles(result: StructureResult) -> Figure:
    """Draw the profile of the stored table and of every layer."""
    rows = result.all_rows
    name = result.pe.affinity.name
    maps = [plane_of(row.profile) for row in rows]
    centre, limit = scale_of(maps, result.pe.affinity.limit)
    side = tuple(max(values.shape[axis] for values in maps) for axis in (0, 1))
    frames = _FRAMES if rows[0].profile.ndim > 2 else ""
    words = Words(
        f"{name[0].upper()}{name[1:]} by offset, the stored table first",
        f"{result.pe.headline}. {_READING}{frames} One scale, {_range(centre, limit)}.",
        "offset in columns",
        "offset in rows",
        f"{name} less {centre:.3g}" if centre else name,
    )
    planned = plan(len(maps), lambda _: (side[0], side[1]))
    shown = [values - np.float32(centre) for values in maps]
    return draw_page(shown, [_label(row) for row in rows], planned, limit, words, None).figure


def plane_of(profile: Float[np.ndarray, "..."]) -> Float32[np.ndarray, "rows columns"]:
    """Return a profile of two axes; with frames, that of pairs of one frame."""
    flat = profile if profile.ndim == 2 else profile[:, profile.shape[1] // 2]
    return flat.astype(np.float32)


def scale_of(maps: list[np.ndarray], limit: float | None) -> tuple[float, float]:
    """Return the middle and the half-width of one scale: 0 and 1 for cosines."""
    if limit is not None:
        return 0.0, limit
    finite = np.concatenate([values[np.isfinite(values)] for values in maps])
    if not finite.size:
        return 0.0, 1.0
    low, high = float(finite.min()), float(finite.max())
    if low < 0 < high or high - low >= min(abs(low), abs(high)):
        return 0.0, max(abs(low), abs(high)) or 1.0
    return (low + high) / 2, (high - low) / 2 or 1.0


def _range(centre: float, limit: float) -> str:
    low, high = (f"{centre + sign * limit:.3g}".replace("-", "−") for sign in (-1, 1))
    return f"{low} to {high}"


def _label(row: StructureRow) -> str:
    return f"{row.name}: {row.word.word}" if row.word else row.name
