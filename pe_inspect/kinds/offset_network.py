"""A bias as a small network computes it from the offset between two patches, for any window.

Sources: arXiv:2111.09883 (Swin v2), section 3.3; timm's two modes of it, `swin` and `cr`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from pe_inspect.arrays import Float, Float32

__all__ = ["OffsetNetwork", "linear_offsets", "log_offsets", "trained_window", "window_offsets"]

_SPAN: Final = 8.0  # offsets are spread over −8 … 8 before the logarithm
_GAIN: Final = 16.0


@dataclass(frozen=True, eq=False)
class OffsetNetwork:
    """Two linear layers with a ReLU between; one output a head.

    Attributes:
        weights: of the first layer (hidden, 2), and of the second (heads, hidden).
        biases: of both; the second has none in Swin v2.
        trained: (H, W) of the window by which Swin v2 divides offsets; `None` for timm's `cr` mode,
            which divides by nothing, and for a network that is yet to be told.
    """

    weights: tuple[Float32[np.ndarray, "hidden 2"], Float32[np.ndarray, "heads hidden"]]
    biases: tuple[Float32[np.ndarray, " hidden"], Float32[np.ndarray, " heads"] | None]
    trained: tuple[float, float] | None = None

    @property
    def is_bounded(self) -> bool:
        """Whether it is Swin v2's: 16 times the sigmoid of the last layer, which has no bias."""
        return self.biases[1] is None

    def on(
        self, window: tuple[int, int]
    ) -> Float32[np.ndarray, "offset_rows offset_columns heads"]:
        """Return the bias of every offset of a window.

        Entry [H − 1 + Δy, W − 1 + Δx] is for query − key = (Δy, Δx).
        """
        offsets = window_offsets(window)
        trained = self.trained
        coordinates = linear_offsets(offsets) if trained is None else log_offsets(offsets, trained)
        rows, columns = (2 * side - 1 for side in window)
        return self(coordinates).reshape(rows, columns, -1)

    def __call__(
        self, coordinates: Float[np.ndarray, "offsets 2"]
    ) -> Float32[np.ndarray, "offsets heads"]:
        """Return the bias of every offset, per head."""
        (first, second), (bias, last) = self.weights, self.biases
        hidden = np.maximum(coordinates @ first.T.astype(np.float64) + bias, 0)
        logits = hidden @ second.T.astype(np.float64)
        if last is None:
            return np.asarray(_GAIN / (1 + np.exp(-logits)), np.float32)
        return np.asarray(logits + last, np.float32)


def window_offsets(window: tuple[int, int]) -> Float[np.ndarray, "offsets 2"]:
    """Return (Δy, Δx) of every row of a table of offsets, Δ = query − key, row-major."""
    axes = (np.arange(1 - side, side, dtype=np.float64) for side in window)
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 2)


def log_offsets(
    offsets: Float[np.ndarray, "offsets 2"], trained: tuple[float, float]
) -> Float[np.ndarray, "offsets 2"]:
    """Return Swin v2's coordinates: sign(c)·log2(1 + |c|)/log2(8), c = 8·Δ/(window − 1).

    Args:
        offsets: in patches.
        trained: (H, W) of the window of pre-training, by which offsets are divided.
    """
    spread = offsets * (_SPAN / (np.asarray(trained) - 1))
    return np.asarray(np.sign(spread) * np.log2(1 + np.abs(spread)) / np.log2(_SPAN))


def linear_offsets(offsets: Float[np.ndarray, "offsets 2"]) -> Float[np.ndarray, "offsets 2"]:
    """Return the coordinates of timm's `cr` mode: sign(Δ)·ln(1 + |Δ|)."""
    return np.asarray(np.sign(offsets) * np.log1p(np.abs(offsets)))


def trained_window(
    table: Float[np.ndarray, "offsets_y offsets_x 2"],
) -> tuple[float, float]:
    """Return the window by which the coordinates of a stored table were divided."""
    window = tuple((side + 1) // 2 for side in table.shape[:2])
    ends = np.abs(table[0, 0].astype(np.float64))
    spread = np.exp2(ends * np.log2(_SPAN)) - 1
    rows, columns = (_SPAN * (side - 1) / end + 1 for side, end in zip(window, spread))
    return float(np.round(rows, 3)), float(np.round(columns, 3))
