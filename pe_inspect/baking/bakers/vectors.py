"""Tables that are added to tokens, in each of the layouts that libraries keep them in."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from math import isqrt
from typing import Final

import numpy as np

from pe_inspect.arrays import Float
from pe_inspect.baking.bakers import Job, TensorChange, bakes
from pe_inspect.baking.renormalised import renormalised
from pe_inspect.errors import UsageError
from pe_inspect.families.reading.table import StoredTable
from pe_inspect.families.reading.tables import find_groups
from pe_inspect.families.trunk import Trunk
from pe_inspect.kinds.layouts import grid_for
from pe_inspect.kinds.position_embedding import LayerPE
from pe_inspect.resampling.methods import methods
from pe_inspect.resampling.sequence import flattened

__all__ = ["bake_vectors"]

_OWN_RULE: Final = ("siglip2_vision_model", "siglip2", "vitdet")
_OWN_TABLES: Final = ("embeds.pos_embed",)
_QWEN: Final = re.compile(r"(timm:)?qwen")
_DECODER_OF_HF: Final = re.compile(r"(^|\.)decoder\.decoder_pos_embed$")


@bakes("learned_absolute", "sinusoidal_1d", "sinusoidal_2d")
def bake_vectors(trunk: Trunk, job: Job) -> Iterator[TensorChange]:
    """Resample every table of the embedding; prefix rows, and rows behind, stay as they are."""
    tables = _tables_of(trunk, job)
    why = _needs_nothing(trunk, tables[0])
    if why:
        yield TensorChange(note=f"{trunk.stored_key(tables[0].key)} stays as it is: {why}")
        return
    layers = {table.key: layer for table, layer in zip(tables, job.pe.tables)}
    for table in {table.key: table for table in tables}.values():
        yield TensorChange(table.key, _resampled_table(trunk, table, layers[table.key], job))
    yield from _other_rows(trunk, tables[0], job)


def _tables_of(trunk: Trunk, job: Job) -> tuple[StoredTable, ...]:
    """The tables that the embedding was read from."""
    for tables in find_groups(trunk):
        keys = {trunk.stored_key(key) for table in tables for key in table.keys}
        parts = {table.part for table in tables}
        if keys <= set(job.pe.keys) and parts == {layer.part for layer in job.pe.tables}:
            return tables
    if not job.pe.stored:
        raise UsageError(f"{trunk.source}: the table of {job.pe.family} is not stored in it.")
    raise UsageError(
        f"{trunk.source}: {', '.join(job.pe.keys)} was read by structure alone, and it is not "
        "known how its model takes a table of another size. Nothing was written; interpolate "
        "without --write shows it."
    )


def _needs_nothing(trunk: Trunk, table: StoredTable) -> str:
    """Why a model resamples or picks from a table by itself, and expects it as it is."""
    model_type = trunk.config.get("model_type")
    if table.part in ("global", "window"):
        return "Hiera with absolute windows resizes its global table for every image, and tiles \
the other"
    if table.arrangement in ("axes", "x", "y"):
        return "it has a row for every position of an axis, and the model picks from it, or \
resizes it, for every image"
    is_own = trunk.stored_key(table.key).endswith(_OWN_TABLES) or _is_qwen(trunk)
    if model_type in _OWN_RULE or is_own:
        return "the model resizes it for every image, and expects the size that it was made with"
    return ""


def _is_qwen(trunk: Trunk) -> bool:
    """Whether it is Qwen3's ViT: by its name, or by the merger behind its blocks."""
    is_named = _QWEN.match(trunk.hints.arch or "") is not None
    return is_named or "merger.norm.weight" in trunk.names


def _resampled_table(
    trunk: Trunk, table: StoredTable, layer: LayerPE, job: Job
) -> Float[np.ndarray, "..."]:
    stored = _numbers(trunk, table.key)
    grid, new = layer.grid_size, grid_for(job.pe, layer, job.size)
    if table.arrangement == "channels first":
        by_place = np.moveaxis(stored[0], 0, -1)
        return np.moveaxis(_on(by_place, new, job), -1, 0)[None]
    if table.arrangement == "blocks":
        return _in_blocks(stored, grid, new, job)
    rows = table.rows + table.trailing
    stack = stored.reshape(-1, rows, table.embed_dim)
    made = np.stack([_resampled_rows(each, table, layer, new, job) for each in stack])
    if len(stored.shape) == 4 and table.arrangement == "rows":
        return made.reshape(1, *new, -1)
    if len(stored.shape) == 3 and stored.shape[0] > 1:
        return made.reshape(*new, -1)
    return made.reshape(*stored.shape[:-2], -1, table.embed_dim)


def _numbers(trunk: Trunk, key: str) -> Float[np.ndarray, "..."]:
    """The stored values, in float64 where the file has them so, else in float32."""
    values = trunk.tensor(key)
    return values if values.dtype == np.float64 else values.astype(np.float32)


def _resampled_rows(
    values: Float[np.ndarray, "rows channels"],
    table: StoredTable,
    layer: LayerPE,
    new: tuple[int, int],
    job: Job,
) -> Float[np.ndarray, "new_rows channels"]:
    prefix = layer.num_prefix_rows
    patches = values[prefix : table.rows].reshape(*layer.grid_size, -1)
    made = _on(patches, new, job).reshape(new[0] * new[1], -1)
    return np.concatenate([values[:prefix], made, values[table.rows :]])


def _on(
    by_place: Float[np.ndarray, "rows columns channels"], new: tuple[int, int], job: Job
) -> Float[np.ndarray, "new_rows new_columns channels"]:
    made = job.resampler(by_place, new)
    return renormalised(made, by_place) if job.renormalise else made


def _in_blocks(
    stored: Float[np.ndarray, "1 blocks tokens channels"],
    grid: tuple[int, int],
    new: tuple[int, int],
    job: Job,
) -> Float[np.ndarray, "1 blocks new_tokens channels"]:
    """NesT's: as many square blocks as before, of more tokens each."""
    count = isqrt(stored.shape[1])
    if any(side % count for side in new):
        raise UsageError(
            f"NesT divides each level into {count}×{count} blocks, and a grid of {new[0]}×{new[1]} "
            f"does not divide by {count}. Pass a --grid whose sides are multiples of {count}."
        )
    old = grid[0] // count
    flat = stored.reshape(count, count, old, old, -1).transpose(0, 2, 1, 3, 4)
    made = _on(flat.reshape(*grid, -1), new, job)
    rows, columns = (side // count for side in new)
    blocks = made.reshape(count, rows, count, columns, -1).transpose(0, 2, 1, 3, 4)
    return blocks.reshape(1, count * count, rows * columns, -1)


def _other_rows(trunk: Trunk, table: StoredTable, job: Job) -> Iterator[TensorChange]:
    """What else has a row a token: a decoder's table (MAE), and the numbers 0, 1, … (CLIP)."""
    layer = job.pe.tables[0]
    new = grid_for(job.pe, layer, job.size)
    count = new[0] * new[1] + table.rows - layer.num_patches
    for key in trunk:
        shape = trunk.shape(key)
        if key.endswith("position_ids") and shape[-1:] == (table.rows,):
            yield TensorChange(key, np.broadcast_to(np.arange(count), (*shape[:-1], count)))
        if key.endswith("decoder_pos_embed") and shape[-2:-1] == (table.rows,):
            other = StoredTable(key, shape, table.rows, shape[-1])
            yield from _decoder_s(trunk, other, job)


def _decoder_s(trunk: Trunk, table: StoredTable, job: Job) -> Iterator[TensorChange]:
    """The table of MAE's decoder; the rule of transformers' is not that of its encoder."""
    is_native = job.resampler == methods["native"].choose(job.pe)
    if is_native and _DECODER_OF_HF.search(trunk.stored_key(table.key)):
        job = replace(job, resampler=flattened)
        yield TensorChange(note=f"{trunk.stored_key(table.key)}: resampled by mae-decoder")
    yield TensorChange(table.key, _resampled_table(trunk, table, job.pe.tables[0], job))
