"""Embeddings for the doctor, and what it finds in them."""

from __future__ import annotations

from itertools import product

import numpy as np

from pe_inspect.diagnosis.doctor import doctor
from pe_inspect.kinds.position_embedding import LayerPE, PositionEmbedding


def structured(grid, width=48, noise=0.2, seed=0, harmonics=5):
    """A table as training makes it: low frequencies, and the noise of stochastic gradients."""
    random = np.random.default_rng(seed)
    y, x = np.indices(grid)
    waves = [
        np.cos(np.pi * i * (y + 0.5) / grid[0]) * np.cos(np.pi * j * (x + 0.5) / grid[1])
        for i, j in product(range(harmonics), repeat=2)
    ]
    loads = random.normal(size=(len(waves), width))
    loads /= np.array([1 + i + j for i, j in product(range(harmonics), repeat=2)])[:, None]
    table = np.stack(waves, -1).reshape(-1, len(waves)) @ loads
    table = table / table.std() + noise * random.normal(size=table.shape)
    return (0.05 * table).astype(np.float32)


def pe_of(values, grid, prefix=0, learned=True, norms=(), depth=0, **fields):
    tables = values if isinstance(values, list) else [values]
    names = ["input"] if len(tables) == 1 else [f"blocks.{i}" for i in range(len(tables))]
    keys = (
        ("pos_embed",) if len(tables) == 1 else tuple(f"pos_embed{i}" for i in range(len(tables)))
    )
    return PositionEmbedding(
        "learned_absolute",
        "vectors",
        "input" if len(tables) == 1 else "unshare",
        tuple(LayerPE(n, v, grid, prefix) for n, v in zip(names, tables)),
        tuple(norms),
        source="x.pth",
        keys=keys,
        depth=depth,
        num_parameters=learned * sum(v.size for v in tables),
        **fields,
    )


def codes(pe):
    return [finding.code for finding in doctor(pe).findings]
