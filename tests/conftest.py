"""Embeddings that the tests of several rooms share; grids are never square."""

from __future__ import annotations

import os

import numpy as np
import pytest
from hypothesis import settings

from pe_inspect.kinds.position_embedding import LayerNormParams, LayerPE, PositionEmbedding

if "PYTEST_XDIST_WORKER" in os.environ:  # threads of several processes wait for each other
    os.environ.setdefault("OMP_NUM_THREADS", "1")
settings.register_profile("no deadline", deadline=None)  # a busy machine is no defect
settings.load_profile("no deadline")


def _norms(width, depth, names, seed):
    rng = np.random.default_rng(seed)
    return tuple(
        LayerNormParams(
            f"blocks.{k}",
            name,
            rng.uniform(0.5, 1.5, width).astype(np.float32),
            rng.normal(0, 0.3, width).astype(np.float32),
            1e-6,
        )
        for k in range(depth)
        for name in names
    )


def _vectors(
    join="lape", grid=(3, 5), width=16, depth=3, prefix=1, names=("norm1", "pe_norm"), seed=0
):
    rng = np.random.default_rng(seed)
    rows = prefix + grid[0] * grid[1]
    layers = [f"blocks.{k}" for k in range(depth)] if join == "unshare" else ["input"]
    tables = tuple(
        LayerPE(layer, rng.normal(0, 0.1, (rows, width)).astype(np.float32), grid, prefix)
        for layer in layers
    )
    norms = _norms(width, depth, names, seed + 1)
    return PositionEmbedding("learned_absolute", "vectors", join, tables, norms, depth=depth)


@pytest.fixture(scope="session")
def vectors():
    """A function that makes embeddings of kind `vectors`, with random tables and norms."""
    return _vectors


@pytest.fixture(scope="session")
def table_of():
    """A function that wraps a table of vectors, with no norms, as one embedding."""

    def wrap(values, grid, prefix=0, **fields):
        table = LayerPE("input", np.asarray(values, np.float32), grid, prefix)
        fields = {"join": "input", **fields}
        return PositionEmbedding("learned_absolute", "vectors", tables=(table,), **fields)

    return wrap


@pytest.fixture(scope="session")
def per_layer():
    """A function that wraps arrays, one a layer, as one embedding inside attention."""

    def wrap(kind, arrays, grid, prefix=0, names=None, parts=None, **fields):
        names = names or [f"blocks.{k}" for k in range(len(arrays))]
        parts = parts or [""] * len(arrays)
        tables = tuple(
            LayerPE(name, np.asarray(values, np.float32), grid, prefix, part)
            for name, values, part in zip(names, arrays, parts)
        )
        fields = {"join": "layer", **fields}
        return PositionEmbedding("made_up", kind, tables=tables, **fields)

    return wrap


@pytest.fixture
def unchecked():
    """Let wrong types and shapes through to the code: what it refuses itself is under test."""
    from jaxtyping import config

    config.update("jaxtyping_disable", True)
    yield
    config.update("jaxtyping_disable", False)
