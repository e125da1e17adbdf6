"""Tables that tests make up."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest

from pe_inspect.families import extract
from pe_inspect.kinds.position_embedding import LayerPE, PositionEmbedding
from pe_inspect.loading import load

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


def strong(grid_size=(5, 3), channels=70, prefix=1):
    """A table with one channel, not the first, a hundred times stronger than the rest.

    That channel is a checkerboard, and all others are smooth: whoever reads some channels only
    gets other numbers.
    """
    rng = np.random.default_rng(1)
    y, x = np.indices(grid_size).reshape(2, -1, 1) + 0.5
    waves = rng.uniform(0.2, 1.0, (2, channels))
    table = 0.02 * np.cos(y * waves[0] + x * waves[1]) + 0.002 * rng.standard_normal(
        (y.size, channels)
    )
    table[:, 1] = (2.0 + 0.3 * rng.standard_normal(y.size)) * (-1) ** (y + x - 1).astype(int)[:, 0]
    values = np.concatenate([rng.standard_normal((prefix, channels)), table])
    return PositionEmbedding(
        "learned_absolute", "vectors", "input", (LayerPE("input", values, grid_size, prefix),)
    )


DINOV2 = Path(__file__).parents[2].parent / "shared" / "data" / "dinov2-small"


@lru_cache(maxsize=1)
def dinov2():
    """The real embedding of DINOv2-S; skips where it is not beside the checkout."""
    if not DINOV2.exists():
        pytest.skip("the weights of DINOv2-S are not beside the checkout")
    (pe,) = extract(load(str(DINOV2)))
    return pe
