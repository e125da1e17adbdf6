"""What torch is called with for each method that is named after one of its modes."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F

from pe_inspect.kinds.position_embedding import LayerPE, PositionEmbedding
from pe_inspect.resampling.methods import methods

VECTORS = PositionEmbedding("x", "vectors", "input", (LayerPE("input", np.zeros((15, 2)), (3, 5)),))
LINES = {
    "bicubic": {"mode": "bicubic"},
    "bicubic-aa": {"mode": "bicubic", "antialias": True},
    "bilinear": {"mode": "bilinear"},
    "bilinear-aa": {"mode": "bilinear", "antialias": True},
    "align-corners": {"mode": "bicubic", "align_corners": True},
    "bilinear-align-corners": {"mode": "bilinear", "align_corners": True},
}
TORCH = {
    **LINES,
    "area": {"mode": "area"},
    "nearest": {"mode": "nearest"},
    "nearest-exact": {"mode": "nearest-exact"},
}
FACTORS = {
    "scale-factor": (0.0, {"mode": "bicubic"}),
    "scale-factor+0.1": (0.1, {"mode": "bicubic"}),
    "scale-factor+0.1-aa": (0.1, {"mode": "bicubic", "antialias": True}),
}


def plain(name):
    return methods[name].choose(VECTORS)


def by_torch(values, **call):
    channels_first = torch.tensor(values).permute(2, 0, 1)[None]
    return F.interpolate(channels_first, **call)[0].permute(1, 2, 0).numpy()
