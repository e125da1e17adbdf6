"""Position maps as colours: their first three principal components as red, green and blue."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from pe_inspect.arrays import Float

__all__ = ["Colours", "colours_of"]


class Colours(NamedTuple):
    """A map as colours, and how much of its variance they show.

    Attributes:
        rgb: (rows, columns, 3), each from 0 to 1 over the map.
        share: of the variance of the map that the three components have.
    """

    rgb: Float[np.ndarray, "rows columns 3"]
    share: float


def colours_of(
    position_map: Float[np.ndarray, "patches channels"], grid_size: tuple[int, int]
) -> Colours:
    """Return the first three components of a centred map, each stretched to 0 … 1.

    A component's sign is free: it is chosen so that the component grows downwards, else to the
    right. Where there are fewer than three, the others are grey.
    """
    values = position_map.astype(np.float64)
    left, length, _ = np.linalg.svd(values - values.mean(axis=0), full_matrices=False)
    kept = min(3, int((length > length[0] * 1e-6).sum()) if length.size and length[0] > 0 else 0)
    rgb = np.full((len(values), 3), 0.5)
    for k in range(kept):
        rgb[:, k] = _stretched(left[:, k] * _sign(left[:, k], grid_size))
    whole = float((length**2).sum())
    share = float((length[:3] ** 2).sum()) / whole if whole > 0 else float("nan")
    return Colours(rgb.reshape(*grid_size, 3), share)


def _stretched(component: np.ndarray) -> np.ndarray:
    low, high = component.min(), component.max()
    stretched: np.ndarray = (component - low) / (high - low)
    return stretched


def _sign(component: np.ndarray, grid_size: tuple[int, int]) -> float:
    rows, columns = np.divmod(np.arange(len(component)), grid_size[1])
    slopes = [float(component @ (places - places.mean())) for places in (rows, columns)]
    steepest = max(slopes, key=abs)
    return -1.0 if steepest < 0 else 1.0
