"""Position maps of a live model → frames of a view, one a place in the residual stream."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np

from pe_inspect.kinds.affinity import cosines
from pe_inspect.page.frames import frame_of
from pe_inspect.page.tables import evenly
from pe_inspect.page.views import Frame

if TYPE_CHECKING:
    from pe_inspect.analysis.contribution import ContributionResult

__all__ = ["position_map_frames"]

SIDE: Final = 20  # patches: pairs grow with its fourth power, and a page has its bound


def position_map_frames(result: ContributionResult) -> tuple[Frame, ...]:
    """Return one frame a place: cosines of the position map's rows, of evenly spaced patches."""
    places = zip(result.trace.places, result.position_maps, result.grid_sizes)
    return tuple(_frame(name, values, grid) for name, values, grid in places)


def _frame(name: str, values: np.ndarray, grid: tuple[int, int]) -> Frame:
    rows, columns = (evenly(side, min(side, SIDE)) for side in grid)
    kept = values.reshape(*grid, -1)[np.ix_(rows, columns)].reshape(len(rows) * len(columns), -1)
    kept = np.ascontiguousarray(kept, np.float32)
    shape = (len(rows), len(columns))
    lengths = np.linalg.norm(kept, axis=1).astype(np.float32)
    frame = frame_of(name, cosines(kept), shape, norms=lengths, detail="position map, measured")
    if shape == grid:
        return frame
    sides = (tuple(map(int, rows)), tuple(map(int, columns)))
    return replace(frame, thinned_from=grid, kept=sides)
