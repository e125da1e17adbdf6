"""Biases by offset (Swin, BEiT, MaxViT, LaPE's RPE) and by distance (LeViT), with their indices."""

from __future__ import annotations

from collections.abc import Iterator
from math import isqrt

import numpy as np

from pe_inspect.arrays import Float, Int, Shaped
from pe_inspect.baking.bakers import Job, TensorChange, bakes
from pe_inspect.baking.windows import shifted_mask
from pe_inspect.errors import UsageError
from pe_inspect.families.distance_bias import find_places, index_of, table_of
from pe_inspect.families.reading.bias import distance_index
from pe_inspect.families.reading.bias_tables import TABLE, BiasTable, find_bias_tables
from pe_inspect.families.reading.norms import BIAS_NORM
from pe_inspect.families.reading.windows import Window, windows_for
from pe_inspect.families.trunk import Trunk
from pe_inspect.kinds.layouts import grid_for
from pe_inspect.resampling.methods.torch_modes import bilinear

__all__ = ["bake_distances", "bake_offsets"]

Grid = tuple[int, int]


@bakes("relative_bias")
def bake_offsets(trunk: Trunk, job: Job) -> Iterator[TensorChange]:
    """Resample the tables of offsets; the rows for CLS stay, and indices are made anew."""
    tables = find_bias_tables(trunk)
    done: set[str] = set()
    for table, window, layer in zip(tables, windows_for(trunk, tables), job.pe.tables):
        if table.key in done:
            continue
        done.add(table.key)
        new = grid_for(job.pe, layer, job.size)
        yield TensorChange(table.key, _resampled_offsets(trunk, table, window, new, job))
        if window.is_sequence:
            yield TensorChange(
                note="one axis of patch numbers: resampled along it, rows after rows"
            )
        yield from _indices(trunk, table, window, new)
        yield from _masks(trunk, table, window, new)
        yield from _resampled_norm(trunk, table, window, new, job)


def _resampled_offsets(
    trunk: Trunk, table: BiasTable, window: Window, new: Grid, job: Job
) -> Float[np.ndarray, "..."]:
    stored = trunk.tensor(table.key)
    values = stored if stored.dtype == np.float64 else stored.astype(np.float32)
    if table.window is not None:  # heads first, offsets key − query
        by_offset = values[:, ::-1, ::-1].transpose(1, 2, 0)
        made = job.resampler(np.ascontiguousarray(by_offset), _offsets(new))
        return made[::-1, ::-1].transpose(2, 0, 1)
    old = (1, window.grid_size[0] * window.grid_size[1]) if window.is_sequence else window.grid_size
    target = (1, new[0] * new[1]) if window.is_sequence else new
    sides = _offsets(old)
    count = sides[0] * sides[1]
    made = job.resampler(values[:count].reshape(*sides, -1), _offsets(target))
    return np.concatenate([made.reshape(-1, values.shape[1]), values[count:]])


def _offsets(grid: Grid) -> Grid:
    return 2 * grid[0] - 1, 2 * grid[1] - 1


def _indices(trunk: Trunk, table: BiasTable, window: Window, new: Grid) -> Iterator[TensorChange]:
    """The index as the file keeps it: as query by key or key by query, square or in one row."""
    if table.index_key not in trunk:
        return
    stored = np.asarray(trunk.tensor(table.index_key))
    old = window.index
    made = Window(new, window.num_prefix, is_sequence=window.is_sequence).index
    if stored.size != old.size:
        raise UsageError(
            f"{trunk.stored_key(table.index_key)} has shape {stored.shape}, and the index of "
            f"its window {old.shape}: `pe-inspect doctor` says more. Remove it from the file."
        )
    square = stored.reshape(old.shape)
    if not np.array_equal(square, old):
        if np.array_equal(square, old.T):
            made = made.T
        else:
            yield TensorChange(
                note=f"{trunk.stored_key(table.index_key)} was not the index of its window; "
                "the new one is"
            )
    yield TensorChange(table.index_key, made.reshape(-1) if stored.ndim == 1 else made)


def _masks(trunk: Trunk, table: BiasTable, window: Window, new: Grid) -> Iterator[TensorChange]:
    """Swin's mask of shifted windows: as many windows as before, each of the new size."""
    stem = table.key.removesuffix(f"attn.{TABLE}")
    key = f"{stem}attn_mask"
    if stem == table.key or key not in trunk or new == window.grid_size:
        return
    count = isqrt(trunk.shape(key)[0])
    if count * count != trunk.shape(key)[0]:
        raise UsageError(
            f"{trunk.stored_key(key)} is of {trunk.shape(key)[0]} windows, which are no "
            "square: the image that it is of is not known. Remove the buffer from the file; "
            "Swin's code makes it anew."
        )
    yield TensorChange(key, shifted_mask((count, count), new))
    yield TensorChange(
        note=f"attn_mask buffers are for {count}×{count} windows as before, so that the image "
        "grows as the windows do"
    )


def _resampled_norm(
    trunk: Trunk, table: BiasTable, window: Window, new: Grid, job: Job
) -> Iterator[TensorChange]:
    """LaPE's norm over the keys has one γ and one β a patch: they lie on the grid."""
    stem = table.key.removesuffix(TABLE) + BIAS_NORM.removeprefix("attn.")
    for key in (f"{stem}.weight", f"{stem}.bias"):
        if key in trunk:
            values = trunk.tensor(key).astype(np.float32)
            if window.is_sequence:
                made = bilinear(values.reshape(1, -1, 1), (1, new[0] * new[1]))
            else:
                made = job.resampler(values.reshape(*window.grid_size, 1), new)
            yield TensorChange(key, made.reshape(-1))
            yield TensorChange(
                note="the norm over the keys has one γ and β a patch: resampled alike"
            )


@bakes("distance_bias")
def bake_distances(trunk: Trunk, job: Job) -> Iterator[TensorChange]:
    """Resample the tables of distances by the offsets that they stand for, and their indices."""
    for place, layer in zip(find_places(trunk), job.pe.tables):
        key, (rows, columns) = table_of(place), layer.grid_size
        stored = trunk.tensor(key).astype(np.float32)
        is_embedding = key.endswith("pos_bias.weight")
        by_head = stored.T if is_embedding else stored
        new = grid_for(job.pe, layer, job.size)
        down, right = (np.abs(np.arange(1 - side, side)) for side in (rows, columns))
        mirrored = by_head.reshape(-1, rows, columns)[:, down][:, :, right].transpose(1, 2, 0)
        made = job.resampler(np.ascontiguousarray(mirrored), _offsets(new))
        quarter = made[new[0] - 1 :, new[1] - 1 :].reshape(new[0] * new[1], -1)
        yield TensorChange(key, quarter if is_embedding else quarter.T)
        yield from _distance_indices(trunk, index_of(key), (rows, columns), new)


def _distance_indices(trunk: Trunk, key: str, old: Grid, new: Grid) -> Iterator[TensorChange]:
    """The stored index: of all patches, or of every second one where a block halves the grid."""
    if key not in trunk:
        return
    stored = np.asarray(trunk.tensor(key))
    for step in (1, 2):
        if np.array_equal(stored, _asking(old, step)):
            yield TensorChange(key, _asking(new, step))
            return
    raise UsageError(
        f"{trunk.stored_key(key)} is no index of distances on {old[0]}×{old[1]} patches. "
        "Remove it from the file: the model's code makes it anew."
    )


def _asking(grid: Grid, step: int) -> Int[np.ndarray, "queries keys"]:
    patches = np.arange(grid[0] * grid[1]).reshape(grid)[::step, ::step].reshape(-1)
    index: Shaped[np.ndarray, "queries keys"] = distance_index(grid)[patches]
    return index
