"""How the rows of the tables that structure found divide: by their shapes, else by evidence."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import isqrt, prod
from typing import Final

from pe_inspect.families.structure.grid_values import grid_score
from pe_inspect.families.structure.grids import (
    Evidence,
    GridReading,
    Statement,
    decide,
    lines,
    readings,
)
from pe_inspect.families.structure.names import common_depth
from pe_inspect.families.structure.structure import Structure
from pe_inspect.families.structure.table_shapes import axes_in_one, by_shape, readings_of_two
from pe_inspect.families.structure.table_values import rows_of
from pe_inspect.families.structure.tables import TableCandidate
from pe_inspect.families.structure.towers import ExtraTokens, Kernel, extra_tokens

__all__ = ["STACK", "DecidedTable", "decided_tables", "kernel_of"]

STACK: Final = "one table a block"
_STEPS: Final = (2, 4, 8)
_SHOWN: Final = ("values", "shape", "coarse")
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


def decided_tables(structure: Structure) -> list[DecidedTable]:
    """Divide the rows of every table: those whose shape tells the grid first, the rest by them.

    Of the rest, those that may be a square behind the tower's tokens come before all others.
    """
    tables = structure.tables
    order = sorted(
        range(len(tables)),
        key=lambda i: (not _shows_grid(tables[i]), not _may_be_square(structure, tables[i])),
    )
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


def _may_be_square(structure: Structure, table: TableCandidate) -> bool:
    tokens = extra_tokens(structure.seen, table.path, table.dim)
    patches = (table.rows - prefix for prefix in tokens.coverings if prefix < table.rows)
    return any(isqrt(count) ** 2 == count for count in patches)


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
    table = axes_in_one(structure, table) or table
    if len(table.sides) in (2, 3) and table.role != "blocks":
        reading, why = by_shape(structure, table)
        options = () if reading else tuple(readings_of_two(table.sides))
        return DecidedTable(table, tokens, reading, why, options)
    reading, why = decide(table.sides[-1], evidence)
    rows = table.sides[-1]
    options = () if reading else (*readings(rows, evidence), *lines(rows, evidence))
    return DecidedTable(table, tokens, reading, why, tuple(dict.fromkeys(options)))


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
    values = rows_of(structure, table, 0)
    first = replace(evidence, values=lambda: values[: table.sides[1]])
    reading, _ = decide(table.sides[1], first)
    if reading is None or min(reading.grid) == 1:
        return None
    own = grid_score(values[reading.prefix : reading.prefix + prod(reading.grid)], reading.grid)
    return reading if own > grid_score(values, table.sides) else None


def _evidence(
    structure: Structure,
    table: TableCandidate,
    tokens: ExtraTokens,
    known: Sequence[DecidedTable],
) -> Evidence:
    kernel = kernel_of(structure, table)
    is_timed = _has_frames_apart(structure, table)
    deep = kernel is not None and len(kernel.sides) == 3 and not is_timed
    has_time = kernel is not None and deep and _depth_of(kernel) > 1
    hints = structure.hints
    return Evidence(
        tokens,
        tuple(_statements(structure, kernel, known)),
        hints.num_prefix_tokens,
        has_time=has_time,
        may_have_time=deep,
        is_flat=is_timed or (kernel is not None and len(kernel.sides) == 2),
        values=lambda: rows_of(structure, table, 0),
    )


def _has_frames_apart(structure: Structure, table: TableCandidate) -> bool:
    """Whether frames have a table of their own, of the same width: this one is of one frame."""
    return any(each.role == "time" and each.dim == table.dim for each in structure.tables)


def kernel_of(structure: Structure, table: TableCandidate) -> Kernel | None:
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
