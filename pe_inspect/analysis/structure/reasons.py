"""Why an index is missing, or cannot be otherwise: what stands beside the numbers in words."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from math import prod
from typing import Final

import numpy as np

from pe_inspect.analysis.common.sentences import listed, percent_text
from pe_inspect.analysis.structure.indices import TABLE_COLUMNS
from pe_inspect.analysis.structure.layer_rows import STORED, StructureRow
from pe_inspect.analysis.structure.map_indices import FIRST
from pe_inspect.analysis.structure.table_pictures import TableByPlace
from pe_inspect.kinds.position_embedding import PositionEmbedding

__all__ = ["by_construction", "missing_reasons", "notes_on"]

EXACT: Final = 1e-6  # how far from 1 a share by construction may be, by rounding
HIGH_FLOOR: Final = 0.1  # of the translation share
_OF_AXES: Final = ("row_share", "column_share", "time_share", "interaction_share", "transpose")
_MIRRORS: Final = ("mirror_x", "mirror_y", "mirror_t")


def missing_reasons(pe: PositionEmbedding, row: StructureRow) -> dict[str, str]:
    """Return why each index of a row is missing that is; those that are there have no entry.

    Args:
        pe: whose row it is.
        row: the stored table's, or a layer's.
    """
    values = row.indices.row()
    return {name: _reason(pe, row, name) for name, value in values.items() if np.isnan(value)}


def by_construction(pe: PositionEmbedding, row: StructureRow) -> dict[str, str]:
    """Return the indices of a row that the form of the scheme decides, and how."""
    kind, share = pe.scheme_kind, row.indices.of_map.translation_share
    is_of_offset = kind.is_by_offset or kind.holds_angles
    if is_of_offset and share >= 1 - EXACT:
        return {"translation_share": f"the {pe.affinity.name} is a function of the offset"}
    return {}


def _reason(pe: PositionEmbedding, row: StructureRow, name: str) -> str:
    profile, table = row.indices.of_map.profile, row.table
    if name in TABLE_COLUMNS or name == "time_share":
        if table is None:
            return f"the {pe.affinity.name} is of pairs; there is no vector a patch"
        return _reason_of_table(row, table, name)
    if prod(profile.sides) == 1:
        return "the grid has one patch"
    if not np.any(profile.counts):
        return "no two patches have a defined affinity"
    if profile.is_constant and not profile.varies:
        return "all pairs of patches have one affinity"
    if name in (*_MIRRORS, "transpose") and min(profile.sides) == 1:
        return "the grid has one row or one column"
    if name == "monotone_share" and max(profile.sides) <= FIRST:
        return "every step outward starts at the patch itself"
    if name == "half_radius":
        return "the affinity of a patch with itself is not the greatest"
    return "the profile by offset does not vary"


def _reason_of_table(row: StructureRow, table: TableByPlace, name: str) -> str:
    broken, rows = table.num_broken, prod(row.indices.sides)
    if name in _OF_AXES and min(row.indices.sides) == 1:
        return "the grid has one row or one column"
    if broken:
        return f"{broken} of {rows} rows {'is' if broken == 1 else 'are'} not finite"
    if name == "effective_rank" and min(rows - 1, table.channels) == 1:
        return "there could be one direction only"
    return "all rows are equal"


def notes_on(pe: PositionEmbedding, rows: Sequence[StructureRow]) -> Iterator[str]:
    """Yield what the numbers of an embedding need said beside them."""
    reasons = [missing_reasons(pe, row) for row in rows]
    for reason, found in _folded(rows, reasons):
        yield f"{found}: missing, since {reason}."
    made = [by_construction(pe, row) for row in rows]
    for reason, found in _folded(rows, made):
        yield f"{found}: 1 by construction, since {reason}; it is no finding."
    yield from _notes_on_rows(pe, rows)
    yield from _notes_on_floors(rows)


def _folded(
    rows: Sequence[StructureRow], reasons: Sequence[dict[str, str]]
) -> Iterator[tuple[str, str]]:
    """Yield every reason once, with the indices and the layers that it is true of."""
    found: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for row, each in zip(rows, reasons):
        by_reason: dict[str, list[str]] = {}
        for name, reason in each.items():
            by_reason.setdefault(reason, []).append(name)
        for reason, names in by_reason.items():
            found.setdefault((reason, tuple(names)), []).append(row.name)
    for (reason, indices), layers in found.items():
        where = "" if len(layers) == len(rows) else f" of {_shortened(layers)}"
        yield reason, f"{listed(indices)}{where}"


def _shortened(layers: Sequence[str]) -> str:
    few = 4
    return listed(layers) if len(layers) <= few else f"{layers[0]} … {layers[-1]} ({len(layers)})"


def _notes_on_rows(pe: PositionEmbedding, rows: Sequence[StructureRow]) -> Iterator[str]:
    stored = rows[0]
    if len({table.layer for table in pe.tables}) > 1:
        yield f"{STORED} is the table of {pe.tables[0].layer}; each layer has one of its own."
    if not pe.stored:
        yield f"{STORED} is the table as computed: the file holds none."
    if pe.facts.begins == "rule" and not pe.num_parameters:
        yield "A rule computes the stored table: its numbers are the rule's, and nothing learned."
    heads = {row.view.num_heads for row in rows}
    if max(heads) > 1:
        yield "The indices are of the mean map over heads; the arrays hold every head's profile."
    broken = [row for row in rows if row.num_undefined]
    for count in dict.fromkeys(row.num_undefined for row in broken):
        of = _shortened([row.name for row in broken if row.num_undefined == count])
        yield (
            f"{of}: {count} of {stored.view.num_patches} patches have no affinity; "
            "the indices are of the others."
        )


def _notes_on_floors(rows: Iterable[StructureRow]) -> Iterator[str]:
    floors = {
        row.view.grid_size: row.indices.of_map.profile.floor
        for row in rows
        if row.indices.of_map.profile.floor >= HIGH_FLOOR
    }
    for (height, width), floor in floors.items():
        yield (
            f"On a {height}×{width} grid the offset explains {percent_text(floor)} of any map by "
            "chance: "
            "read the indices beside their floors and baselines."
        )
