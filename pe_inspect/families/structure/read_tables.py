"""From a table that structure found to a position embedding: rows divided, words chosen."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import isqrt, prod
from typing import Final

import numpy as np

from pe_inspect.arrays import Float32
from pe_inspect.errors import AmbiguousCheckpoint
from pe_inspect.families.reading.vectors import is_sinusoidal
from pe_inspect.families.structure.grids import (
    Evidence,
    GridReading,
    Statement,
    decide,
    flags_of,
    grid_of_places,
    grid_score,
    readings,
    written,
)
from pe_inspect.families.structure.names import common_depth, is_of_time
from pe_inspect.families.structure.structure import Structure
from pe_inspect.families.structure.tables import TableCandidate
from pe_inspect.families.structure.towers import ExtraTokens, Kernel, extra_tokens
from pe_inspect.kinds.parts import checked_grid
from pe_inspect.kinds.position_embedding import Join, LayerPE, PositionEmbedding

__all__ = ["DecidedTable", "decided_tables", "embedding_of", "tables_embeddings"]

LEARNED: Final = "learned_absolute"
_MOST_NUMBERS: Final = 1 << 27  # of the tables of two axes, put together
_STEPS: Final = (2, 4, 8)
_SHOWN: Final = ("values", "shape", "coarse")
STACK: Final = "one table a block"
_BARE: Final = 3  # axes of (blocks, rows, channels)


@dataclass(frozen=True, eq=False)
class DecidedTable:
    """A table, its tower's extra tokens, and how its rows divide.

    Attributes:
        table: what was found.
        tokens: the tower's extra tokens.
        reading: how the rows divide; `None` where nothing decides.
        why: a sentence for the notes.
        options: every reading, where nothing decides.
    """

    table: TableCandidate
    tokens: ExtraTokens
    reading: GridReading | None
    why: str
    options: tuple[GridReading, ...] = ()


def tables_embeddings(structure: Structure) -> list[PositionEmbedding]:
    """Return an embedding for every table.

    Raises:
        AmbiguousCheckpoint: nothing decides on a table's grid; every reading is listed.
    """
    return [embedding_of(structure, decided) for decided in decided_tables(structure)]


def decided_tables(structure: Structure) -> list[DecidedTable]:
    """Divide the rows of every table: those whose shape tells the grid first, the rest by them."""
    tables = structure.tables
    order = sorted(range(len(tables)), key=lambda i: not _shows_grid(tables[i]))
    found: dict[int, DecidedTable] = {}
    for i in order:
        found[i] = _decided(structure, tables[i], tuple(found.values()))
    again = [i for i, each in found.items() if each.reading is None]
    for i in again:
        found[i] = _decided(structure, tables[i], tuple(found.values()))
    return [found[i] for i in range(len(tables)) if _is_credible(found[i])]


def _is_credible(decided: DecidedTable) -> bool:
    """Whether a tensor that no name speaks for has a shape or values that do."""
    return decided.table.hinted or any(word in decided.why for word in _SHOWN)


def _shows_grid(table: TableCandidate) -> bool:
    return len(table.sides) > 1 and table.role != "blocks" and not _may_be_stack(table)


def _may_be_stack(table: TableCandidate) -> bool:
    """Whether the first axis may be that of the blocks."""
    if len(table.sides) != 2 or len(table.tensors) > 1 or table.tower is None:
        return False
    return table.sides[0] in (table.tower.depth, table.tower.depth - 1)


def _decided(
    structure: Structure, table: TableCandidate, known: Sequence[DecidedTable]
) -> DecidedTable:
    tokens = extra_tokens(structure.seen, table.path, table.dim)
    if table.role == "time":
        return DecidedTable(
            table, tokens, GridReading((table.rows, 1, 1)), "positions in time alone"
        )
    evidence = _evidence(structure, table, tokens, known)
    if (stack := _stacked(structure, table, evidence, known)) is not None:
        return DecidedTable(table, tokens, stack, f"{STACK}, in one tensor")
    if len(table.sides) in (2, 3) and table.role != "blocks":
        return DecidedTable(table, tokens, *_by_shape(structure, table))
    reading, why = decide(table.sides[-1], evidence)
    options = () if reading else tuple(readings(table.sides[-1], evidence))
    return DecidedTable(table, tokens, reading, why, options)


def _by_shape(structure: Structure, table: TableCandidate) -> tuple[GridReading | None, str]:
    """Read the grid off the shape; a side may be frames of patches, where the values show that."""
    said = structure.hints.grid_size
    if table.combine != "none" and said is not None and _fits_within(said, table.sides):
        return GridReading(tuple(said)), f"the first {written(said)} of {written(table.sides)}"
    if table.combine != "none" and prod(table.sides) * table.dim > _MOST_NUMBERS:
        return None, ""
    flat = GridReading(table.sides)
    if len(table.sides) == 2 and table.combine == "none":
        values = _rows(structure, table, 0).reshape(*table.sides, -1)
        for lead in (0, 1):
            if grid := grid_of_places(values[:, lead:]):
                deep = (table.sides[0], *grid)
                why = f"grid {written(deep)} shown by the shape and the values"
                return GridReading(deep, lead=lead), why
        if frames := _frames(structure, table):
            why = f"grid {written(frames)}: a square a frame, and the file speaks of time"
            return GridReading(frames), why
    return flat, f"grid {written(table.sides)} shown by the shape"


def _frames(structure: Structure, table: TableCandidate) -> tuple[int, int, int] | None:
    """Return (T, H, W) of a table (T, H·W), where the file speaks of time and has no other table.

    A grid (H, W) is likelier where both sides are equal, or where frames have a table of their own.
    """
    frames, places = table.sides
    side = isqrt(places)
    if side < 2 or side * side != places or frames == places:
        return None
    if any(each.role == "time" for each in structure.tables):
        return None
    seen = structure.seen
    said = [*(tower.prefix for tower in seen.towers), *extra_tokens(seen, "", table.dim).names]
    return (frames, side, side) if any(map(is_of_time, said)) else None


def _fits_within(grid: tuple[int, ...], sides: tuple[int, ...]) -> bool:
    return len(grid) == len(sides) and all(own <= side for own, side in zip(grid, sides))


def _stacked(
    structure: Structure,
    table: TableCandidate,
    evidence: Evidence,
    known: Sequence[DecidedTable],
) -> GridReading | None:
    """Divide a tensor of as many tables as there are blocks, where it is one."""
    if not _may_be_stack(table):
        return None
    rows = {each.table.rows: each for each in known if len(each.table.sides) == 1 and each.reading}
    if table.sides[1] in rows:
        return rows[table.sides[1]].reading
    if len(table.tensors[0].shape) != _BARE or table.sides[0] == table.sides[1]:
        return None
    values = _rows(structure, table, 0)
    first = replace(evidence, values=lambda: values[: table.sides[1]])
    reading, _ = decide(table.sides[1], first)
    if reading is None:
        return None
    own = grid_score(values[reading.prefix : reading.prefix + prod(reading.grid)], reading.grid)
    return reading if own > grid_score(values, table.sides) else None


def _evidence(
    structure: Structure,
    table: TableCandidate,
    tokens: ExtraTokens,
    known: Sequence[DecidedTable],
) -> Evidence:
    kernel = _kernel(structure, table)
    deep = kernel is not None and len(kernel.sides) == 3
    has_time = kernel is not None and deep and _depth_of(kernel) > 1
    hints = structure.hints
    return Evidence(
        tokens,
        tuple(_statements(structure, kernel, known)),
        hints.num_prefix_tokens,
        has_time=has_time,
        may_have_time=deep,
        is_flat=kernel is not None and len(kernel.sides) == 2,
        values=lambda: _rows(structure, table, 0),
    )


def _kernel(structure: Structure, table: TableCandidate) -> Kernel | None:
    """Return the patch kernel nearest to a table, one that makes its channels if there is any."""
    kernels = [k for k in structure.seen.kernels if k.sides]
    return max(
        kernels,
        key=lambda k: (
            "patch" in k.named.path.lower() and k.out == table.dim,
            k.out == table.dim,
            common_depth(k.named.path, table.path),
        ),
        default=None,
    )


def _depth_of(kernel: Kernel) -> int:
    return kernel.sides[0]


def _statements(
    structure: Structure,
    kernel: Kernel | None,
    known: Sequence[DecidedTable],
) -> Iterator[Statement]:
    hints = structure.hints
    if hints.grid_size is not None:
        who, binds = structure.hints.origin("grid_size"), structure.hints.is_flag("grid_size")
        yield Statement(tuple(hints.grid_size), who, binds)
    patch = hints.patch_size or (kernel.sides[-2:] if kernel and kernel.sides else None)
    if hints.img_size is not None and patch is not None:
        grid = tuple(image // side for image, side in zip(hints.img_size, patch))
        yield Statement(grid, f"the image size ({hints.origin('img_size')})")
    for each in known:
        if each.reading is not None and each.table.role != "time":
            yield Statement(each.reading.grid, f"the grid of {each.table.path}")
    for each in known:
        if each.reading is not None and each.table.role != "time":
            yield from _coarser(each.reading.grid, each.table.path)


def _coarser(grid: tuple[int, ...], path: str) -> Iterator[Statement]:
    """Yield the grids of the later stages of a pyramid, each half as fine as the one before."""
    for step in _STEPS:
        if all(side % step == 0 for side in grid):
            coarse = tuple(side // step for side in grid)
            yield Statement(coarse, f"the grid of {path}, {step} times as coarse")


def _rows(structure: Structure, table: TableCandidate, i: int) -> Float32[np.ndarray, "rows dim"]:
    """Read one table, a row a token."""
    if table.combine != "none":
        return _of_axes(structure, table, table.sides)
    values = structure.trunk.float32(table.tensors[i].key)
    return np.moveaxis(values, table.axis, -1).reshape(-1, table.dim)


def _of_axes(
    structure: Structure, table: TableCandidate, sides: tuple[int, ...]
) -> Float32[np.ndarray, "rows dim"]:
    """Put the tables of the axes together: added, or side by side as in DETR."""
    own = table.dim if table.combine == "sum" else table.dim // 2
    axes = [
        np.moveaxis(values, _channels(values.shape, own, table), -1).reshape(-1, own)[:side]
        for side, values in zip(sides, (structure.trunk.float32(t.key) for t in table.tensors))
    ]
    placed = [
        axis.reshape(*(len(axis) if i == at else 1 for i in range(len(axes))), own)
        for at, axis in enumerate(axes)
    ]
    if table.combine == "sum":
        return np.asarray(sum(placed[1:], placed[0])).reshape(-1, own)
    shape = (*sides, own)
    whole = [np.broadcast_to(axis, shape) for axis in reversed(placed)]
    return np.concatenate(whole, axis=-1).reshape(-1, table.dim)


def _channels(shape: tuple[int, ...], dim: int, table: TableCandidate) -> int:
    """Return where the channels lie: where the first table has them, if that axis is as long."""
    return table.axis if shape[table.axis] == dim else shape.index(dim)


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
        return [_of_axes(structure, table, decided.reading.grid if decided.reading else ())]
    if _join(decided) == "unshare" and len(table.tensors) == 1:
        whole = structure.trunk.float32(table.tensors[0].key)
        return list(np.moveaxis(whole, table.axis, -1).reshape(table.sides[0], -1, table.dim))
    return [_rows(structure, table, i) for i in range(len(table.tensors))]


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
    kernel = _kernel(structure, table)
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
    return (
        f"{name} has {rows} rows, and nothing in the file decides how they divide. Each of these "
        f"fits: {flags_of(decided.options)}."
    )
