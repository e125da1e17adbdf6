"""Tables that tests make up."""

from __future__ import annotations

import numpy as np

from pe_inspect.kinds.position_embedding import LayerPE, PositionEmbedding

GRID = (3, 5)


def vectors(grid_size=GRID, prefix=1, tables=1, channels=6, **fields):
    """Learned tables of independent rows, the same at each call."""
    rng = np.random.default_rng(0)
    rows = prefix + grid_size[0] * grid_size[1]
    layers = tuple(
        LayerPE(f"blocks.{i}", rng.standard_normal((rows, channels)) * 0.1, grid_size, prefix)
        for i in range(tables)
    )
    return PositionEmbedding("learned_absolute", "vectors", "input", layers, **fields)
