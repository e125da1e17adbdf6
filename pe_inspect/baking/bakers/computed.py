"""What is computed for any grid: nothing to change, but for the buffers that some files keep."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from pe_inspect.arrays import Float
from pe_inspect.baking.bakers import Job, TensorChange, bakes
from pe_inspect.baking.windows import shifted_mask
from pe_inspect.errors import UsageError
from pe_inspect.families.reading.bias import offset_index
from pe_inspect.families.trunk import Trunk
from pe_inspect.kinds.offset_network import log_offsets, trained_window, window_offsets

__all__ = ["bake_function", "bake_gated", "bake_network"]


@bakes("conditional", "fourier", "conv_relative")
def bake_function(_checkpoint: Trunk, job: Job) -> Iterator[TensorChange]:
    """Say why nothing changes."""
    yield TensorChange(note=f"{job.pe.family} needs nothing: {job.pe.facts.needs_no_change}")


@bakes("gated_positional")
def bake_gated(_checkpoint: Trunk, job: Job) -> Iterator[TensorChange]:
    """Say why nothing changes on a square grid, the only one that ConViT's code has.

    Raises:
        UsageError: the grid is oblong.
    """
    rows, columns = job.size
    if rows != columns:
        raise UsageError(
            f"A ConViT of {rows}×{columns} patches would not run: its code takes the root of the "
            "number of patches for the side of a square. Pass a square --res or --grid."
        )
    yield TensorChange(
        note="gated_positional needs nothing: its scores are a function of the offset in patches, "
        "for any square grid: at a larger one each head looks as many patches away, which is a "
        "smaller part of the image"
    )


@bakes("bias_network")
def bake_network(trunk: Trunk, job: Job) -> Iterator[TensorChange]:
    """Make coordinates and indices of the new window; the network itself serves any."""
    old = job.pe.tables[0].grid_size
    found = [
        change for key in trunk for change in _buffer(trunk, key, old, job.size) if job.size != old
    ]
    yield from found
    kept = "" if found else " The file keeps no buffers of a window either."
    yield TensorChange(
        note="bias_network needs nothing: its network is asked for the offsets of any window."
        + kept
    )


def _buffer(
    trunk: Trunk, key: str, old: tuple[int, int], new: tuple[int, int]
) -> Iterator[TensorChange]:
    name, shape = key.rpartition(".")[2], trunk.shape(key)
    offsets = tuple(2 * side - 1 for side in old)
    tokens = old[0] * old[1]
    if name == "relative_coords_table" and shape == (1, *offsets, 2):
        table = np.asarray(trunk.tensor(key), np.float64)[0]
        yield TensorChange(key, _coordinates(new, trained_window(table)))
    elif name == "relative_position_index" and trunk.size(key) == tokens**2:
        index = offset_index(new)
        yield TensorChange(key, index.reshape(-1) if len(shape) == 1 else index)
    elif name == "attn_mask" and shape[1:] == (tokens, tokens):
        count = round(shape[0] ** 0.5)
        if count * count == shape[0]:
            yield TensorChange(key, shifted_mask((count, count), new))


def _coordinates(
    window: tuple[int, int], trained: tuple[float, float]
) -> Float[np.ndarray, "1 rows columns 2"]:
    rows, columns = (2 * side - 1 for side in window)
    return log_offsets(window_offsets(window), trained).reshape(1, rows, columns, 2)
