"""What Swin's files keep for their windows besides tables: masks, indices and coordinates."""

from __future__ import annotations

import numpy as np

from pe_inspect.arrays import Float

__all__ = ["shifted_mask"]

HIDDEN = -100.0


def shifted_mask(
    windows: tuple[int, int], window: tuple[int, int]
) -> Float[np.ndarray, "windows tokens tokens"]:
    """Return what keeps patches apart that only a shift of the grid brought into one window.

    The grid is shifted by half a window, so that its last windows hold patches of opposite edges.

    Args:
        windows: how many of them there are, along rows and along columns.
        window: (H, W) patches of one.

    Source: arXiv:2103.14030, section 3.2, "Efficient batch computation for shifted configuration".
    """
    regions = [_regions(count, side) for count, side in zip(windows, window)]
    region = 3 * regions[0][:, None] + regions[1]
    by_window = region.reshape(windows[0], window[0], windows[1], window[1])
    flat = by_window.transpose(0, 2, 1, 3).reshape(windows[0] * windows[1], -1)
    apart = flat[:, None, :] != flat[:, :, None]
    return np.where(apart, np.float32(HIDDEN), np.float32(0))


def _regions(count: int, side: int) -> np.ndarray:
    """0 before the last window, 1 in its first part, 2 in what was shifted into it."""
    place, length = np.arange(count * side), count * side
    shift = side // 2
    return (place >= length - side).astype(int) + (place >= length - shift)
