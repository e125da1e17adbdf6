"""What a library, or a family itself, does with each kind of table."""

from __future__ import annotations

import numpy as np

from pe_inspect._typing import Float
from pe_inspect.analysis._resampling import Resample, rule
from pe_inspect.analysis._resampling._matrices import separable
from pe_inspect.analysis._resampling.torch_modes import bicubic, bicubic_aa
from pe_inspect.position_embedding import PositionEmbedding

__all__ = ["geometric", "native", "timm"]

GROWTH_RANGE = (1.01, 1.5)
GROWTH_TOLERANCE = 1e-6


@rule(
    "native",
    call="vectors: bicubic-aa (timm's rule); bias: bicubic on the table of offsets (Swin's rule)",
    source="the rule of the embedding's own family",
)
def native(pe: PositionEmbedding) -> Resample:
    """The family's own rule."""
    return bicubic if pe.kind == "bias" else bicubic_aa


@rule(
    "timm",
    call="vectors: interpolation='bicubic', antialias=True, old_size=(H, W); "
    "bias: linear between offsets in geometric progression",
    source="timm.layers.resample_abs_pos_embed, timm.layers.resize_rel_pos_bias_table",
)
def timm(pe: PositionEmbedding) -> Resample:
    """What timm does on loading at another size."""
    return geometric if pe.kind == "bias" else bicubic_aa


def geometric(
    offsets: Float[np.ndarray, "rows columns heads"], size: tuple[int, int]
) -> Float[np.ndarray, "new_rows new_columns heads"]:
    """Spread a table of offsets so that near offsets keep their place and far ones stretch.

    The old offsets are placed at 0, ±1, ±(1 + q), ±(1 + q + q²), … with q chosen so that the last
    one falls on the new edge, and are read linearly at the new integer offsets.

    Source: BEiT's fine-tuning (arXiv:2106.08254), with timm's linear reading.
    """
    return separable(offsets, *(_geometric_matrix(*axis) for axis in zip(offsets.shape, size)))


def _geometric_matrix(source: int, target: int) -> Float[np.ndarray, "target source"]:
    if source == target:
        return np.eye(source)
    arm = np.cumsum(_growth(source // 2, target // 2) ** np.arange(source // 2))
    places = np.concatenate([-arm[::-1], [0.0], arm])
    wanted = np.arange(target) - target // 2
    return np.stack([np.interp(wanted, places, hat) for hat in np.eye(source)], axis=1)


def _growth(steps: int, reach: int) -> float:
    """The q at which 1 + q + … + q^(steps − 1) = reach, by bisection within `GROWTH_RANGE`."""
    low, high = GROWTH_RANGE
    q = high
    while high - low > GROWTH_TOLERANCE:
        q = (low + high) / 2
        low, high = (low, q) if np.sum(q ** np.arange(steps)) > reach else (q, high)
    return q
