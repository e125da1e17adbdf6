"""From a table that structure found to a position embedding: rows divided, words chosen."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import prod
from typing import Final

import numpy as np

from pe_inspect.arrays import Float32
from pe_inspect.errors import AmbiguousCheckpoint
from pe_inspect.families.reading.vectors import is_sinusoidal
from pe_inspect.families.structure.decided_tables import (
    STACK,
    DecidedTable,
    kernel_of,
)
from pe_inspect.families.structure.grids import GridReading, flags_of, written
from pe_inspect.families.structure.structure import Structure
from pe_inspect.families.structure.table_values import of_axes, rows_of
from pe_inspect.families.structure.tables import TableCandidate
from pe_inspect.kinds.parts import checked_grid
from pe_inspect.kinds.position_embedding import Join, LayerPE, PositionEmbedding

__all__ = ["embedding_of"]

LEARNED: Final = "learned_absolute"


def embedding_of(structure: Structure, decided: DecidedTable) -> PositionEmbedding:
    """Read the values of a table and build its embedding.

    Raises:
        AmbiguousCheckpoint: nothing decides on its grid.
    """
    table, reading = decided.table, decided.reading
    if reading is None:
        raise AmbiguousCheckpoint(_question(structure, decided))
    values = _values(structure, decided)
    family = _family(values[0])
    hints, tower = structure.hints, table.tower or structure.tower_near(table.path)
    tokens = hints.num_prefix_tokens
    return PositionEmbedding(
        family=family,
        kind="vectors",
        join=_join(decided),
        tables=tuple(_tables(structure, decided, values)),
        norms=structure.norms(tower),
        notes=tuple(_notes(structure, decided)),
        keys=structure.stored(t.path for t in table.tensors),
        num_prefix_tokens=max(decided.tokens.prefix, reading.prefix) if tokens is None else tokens,
        depth=tower.depth if tower else 0,
        num_parameters=sum(t.size for t in table.tensors) if family == LEARNED else 0,
        num_suffix_rows=reading.suffix,
        patch_size=_patch_size(structure, table),
    )


def _values(structure: Structure, decided: DecidedTable) -> list[Float32[np.ndarray, "rows dim"]]:
    table = decided.table
    if table.combine != "none":
        return [of_axes(structure, table, decided.reading.grid if decided.reading else ())]
    if _join(decided) == "unshare" and len(table.tensors) == 1:
        whole = structure.trunk.float32(table.tensors[0].key)
        return list(np.moveaxis(whole, table.axis, -1).reshape(table.sides[0], -1, table.dim))
    return [rows_of(structure, table, i) for i in range(len(table.tensors))]


def _join(decided: DecidedTable) -> Join:
    is_stack = decided.why.startswith(STACK)
    return "unshare" if decided.table.role == "blocks" or is_stack else "input"


def _tables(
    structure: Structure, decided: DecidedTable, values: Sequence[Float32[np.ndarray, "rows dim"]]
) -> Iterator[LayerPE]:
    reading, table = decided.reading or GridReading(()), decided.table
    names = list(structure.layers(table.tower).values())
    inside = structure.seen.in_block
    own = [
        inside[t.path].path for t in table.tensors if table.role == "blocks" and t.path in inside
    ]
    by_path = structure.layers(table.tower)
    for i, rows in enumerate(values):
        layer = "input"
        if own:
            layer = by_path.get(own[i], own[i])
        elif _join(decided) == "unshare":
            layer = names[i + len(names) - len(values)]
        if reading.lead:
            frames = rows.reshape(reading.grid[0], -1, table.dim)[:, reading.lead :]
            rows = np.ascontiguousarray(frames).reshape(-1, table.dim)
        kept = rows[: reading.prefix + prod(reading.grid)]
        yield LayerPE(layer, kept, checked_grid(reading.grid), reading.prefix)


def _family(values: Float32[np.ndarray, "rows dim"]) -> str:
    if not is_sinusoidal(values):
        return LEARNED
    from pe_inspect.families.reading.sincos import one_dimensional

    return "sinusoidal_1d" if one_dimensional(values) else "sinusoidal_2d"


def _patch_size(structure: Structure, table: TableCandidate) -> tuple[int, int] | None:
    kernel = kernel_of(structure, table)
    if kernel is None or len(kernel.sides) < 2 or "patch" not in kernel.named.path.lower():
        return structure.hints.patch_size
    return kernel.sides[-2], kernel.sides[-1]


def _notes(structure: Structure, decided: DecidedTable) -> Iterator[str]:
    table = decided.table
    if decided.why:
        yield decided.why
    if not table.said:
        yield f"{table.path} taken for the position embedding: the only tensor of such a shape"
    if table.combine == "concatenate":
        yield "columns' channels ahead of rows', as in DETR: no file says which come first"
    if table.combine == "append":
        yield "the axes' channels side by side, in the order of their numbers"
    if table.combine == "sum" and len(table.tensors) == 1:
        yield f"{table.path} holds the columns' table, then the rows', as in Gemma 4"
    if decided.reading is not None and decided.reading.lead:
        yield "the first row of every frame is that of its class token, and is left out here"
    if decided.reading is not None and decided.reading.suffix:
        yield f"{decided.reading.suffix} rows behind the patches are those of detection tokens"
    if table.tower is not None and any(each.missing for each in table.tower.lists):
        missing = [str(n) for each in table.tower.lists for n in each.missing]
        yield f"the file holds nothing of blocks {', '.join(missing[:8])}"
    yield from structure.norm_notes


def _question(structure: Structure, decided: DecidedTable) -> str:
    """List every reading of a table whose grid nothing tells, with the flags that choose each."""
    name = structure.stored([decided.table.path])[0]
    rows = decided.table.rows
    if decided.table.combine != "none":
        count = written(decided.table.sides)
        return (
            f"{name} and its partners hold {count} positions, more than any image has: "
            "--grid-size HxW adds the first of them on a grid."
        )
    if len(decided.table.sides) == len(("rows", "columns")):
        return (
            f"{name} holds {written(decided.table.sides)} rows, and nothing in the file tells what "
            f"they are. Each of these fits: {flags_of(decided.options)}; or positions of two axes, "
            f"to be added (--grid-size HxW, of sides up to {decided.table.sides[1]})."
        )
    return (
        f"{name} has {rows} rows, and nothing in the file decides how they divide. Each of these "
        f"fits: {flags_of(decided.options)}."
    )
