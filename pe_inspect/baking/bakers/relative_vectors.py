"""Relative vectors by offset: one axis at a time (SAM, MViTv2), jointly (lambda), clipped."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

import numpy as np

from pe_inspect.arrays import Float, Int
from pe_inspect.baking.bakers import Job, TensorChange, bakes
from pe_inspect.families.trunk import Trunk
from pe_inspect.kinds.layouts import target_shape
from pe_inspect.kinds.position_embedding import LayerPE, PositionEmbedding
from pe_inspect.kinds.relative import check_offsets

__all__ = ["bake_clipped", "bake_tables"]

Grid = tuple[int, int]
_SAM_WINDOW: Final = 14
_SAM_GLOBAL: Final = 4


@bakes("decomposed_relative", "lambda_relative")
def bake_tables(trunk: Trunk, job: Job) -> Iterator[TensorChange]:
    """Resample every table of offsets; windows between blocks that see all patches stay."""
    by_stored = {tensor.key: key for key, tensor in trunk.checkpoint.tensors.items()}
    keys = [by_stored[stored] for stored in job.pe.keys]
    windows = _usual_windows(job.pe)
    if windows:
        yield TensorChange(
            note=f"all blocks have tables of {_SAM_WINDOW}×{_SAM_WINDOW} patches: every fourth of "
            "the depth is taken to see the whole image, as in SAM, and the others' windows stay"
        )
    for key, layer in zip(keys, job.pe.tables):
        if layer.layer in windows:
            continue
        if not key.endswith("conv_lambda.weight"):
            check_offsets(layer)
            yield TensorChange(key, _resampled_axis(trunk, key, layer, job))
        else:
            yield TensorChange(note=f"{trunk.stored_key(key)} is a kernel: it serves any grid")


def _usual_windows(pe: PositionEmbedding) -> frozenset[str]:
    """The blocks of a SAM for 224 pixels that attend in windows, which are as large as its grid.

    Source: arXiv:2304.02643, appendix A: four blocks, evenly spread, attend globally.
    """
    blocks = list(dict.fromkeys(layer.layer for layer in pe.tables))
    is_plain = all(re.fullmatch(r"blocks\.\d+", block) for block in blocks)
    grids = {layer.grid_size for layer in pe.tables}
    if not is_plain or grids != {(_SAM_WINDOW, _SAM_WINDOW)} or len(blocks) % _SAM_GLOBAL:
        return frozenset()
    step = len(blocks) // _SAM_GLOBAL
    return frozenset(block for i, block in enumerate(blocks) if (i + 1) % step)


def _resampled_axis(trunk: Trunk, key: str, layer: LayerPE, job: Job) -> Float[np.ndarray, "..."]:
    stored = trunk.tensor(key)
    values = stored if stored.dtype == np.float64 else stored.astype(np.float32)
    new = target_shape(job.pe, layer, job.size)
    if values.ndim == 3:
        return job.resampler(values, new)
    by_place = values[:, None] if layer.part.endswith("y") else values[None]
    return job.resampler(by_place, new).reshape(-1, values.shape[1])


@bakes("shaw_relative")
def bake_clipped(trunk: Trunk, job: Job) -> Iterator[TensorChange]:
    """Clipped tables serve any grid; the tables of clipped distances that s-chh stores do not."""
    layer = job.pe.tables[0]
    reach = (len(layer.values) - 2) // 2
    axes = {"x_distances": 1, "y_distances": 0}
    for key in trunk.names.values():
        axis = axes.get(key.rpartition(".")[2])
        if axis is None:
            continue
        stored = np.asarray(trunk.tensor(key))
        if np.array_equal(stored, _distances(layer.grid_size, axis, reach)):
            yield TensorChange(key, _distances(job.size, axis, reach))
        else:
            yield TensorChange(
                note=f"{trunk.stored_key(key)} is not s-chh's table of distances and stays "
                "as it is: it fits the old grid only"
            )
    yield TensorChange(note="relative tables are clipped: the same rows serve any grid")


def _distances(grid: Grid, axis: int, reach: int) -> Int[np.ndarray, "tokens tokens"]:
    """Key − query along an axis, clipped and counted from 1; 0 for every pair with CLS."""
    place = np.indices(grid)[axis].reshape(-1)
    offset = (place[None, :] - place[:, None]).clip(-reach, reach)
    return np.pad(offset + reach + 1, ((1, 0), (1, 0)))
