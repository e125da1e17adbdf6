"""The tables of an embedding as fields over a grid, whatever their kind."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from pe_inspect.analysis.layernorm import LayerNormResult
from pe_inspect.arrays import Float32
from pe_inspect.kinds.all_kinds import (
    BIAS,
    COMPUTED_BIAS,
    PHASES,
    RELATIVE,
    RESPONSE,
    VECTORS,
    SchemeKind,
)
from pe_inspect.kinds.held_values import Lookup
from pe_inspect.kinds.position_embedding import LayerPE, PositionEmbedding

__all__ = ["Field", "command", "fields", "is_learned", "listed", "noun", "stored_values"]

CLS_ROWS = 3  # BEiT's last three offsets are none between patches


@dataclass(frozen=True, eq=False)
class Field:
    """One table, as values by place.

    Attributes:
        layer: whose it is.
        values: (rows, columns, channels): of patches, or of the offsets between them.
    """

    layer: str
    values: Float32[np.ndarray, "rows columns channels"]

    @property
    def grid_size(self) -> tuple[int, int]:
        """(rows, columns)."""
        return self.values.shape[0], self.values.shape[1]

    @property
    def rows(self) -> Float32[np.ndarray, "places channels"]:
        """One row a place, row-major."""
        return self.values.reshape(-1, self.values.shape[-1])


def fields(pe: PositionEmbedding) -> Iterator[Field]:
    """Yield the tables that are fields over a grid: vectors by patch, biases by offset.

    A table that several layers share is yielded once.
    """
    seen: set[int] = set()
    for table in pe.tables:
        if id(table.held) in seen:
            continue
        seen.add(id(table.held))
        field = _FIELD[pe.scheme_kind](table)
        if field is not None:
            yield field


def _of_vectors(table: LayerPE) -> Field:
    return Field(table.layer, table.patches.reshape(*table.grid_size, -1))


def _of_bias(table: LayerPE) -> Field | None:
    found = _by_offset(table)
    return None if found is None else Field(table.name, found)


def _of_none(table: LayerPE) -> None:  # noqa: ARG001
    return None


def _by_offset(table: LayerPE) -> Float32[np.ndarray, "rows columns heads"] | None:
    """Return a bias by offset (Δy, Δx), or by distance (|Δy|, |Δx|) where it knows no sign."""
    if not isinstance(table.held, Lookup):
        return None
    height, width = table.grid_size
    stored = table.held.table.T
    for rows, columns, others in (
        (2 * height - 1, 2 * width - 1, 0),
        (2 * height - 1, 2 * width - 1, CLS_ROWS),
        (height, width, 0),
    ):
        if len(stored) == rows * columns + others:
            return stored[: rows * columns].reshape(rows, columns, -1)
    return None


_FIELD: Final[Mapping[SchemeKind, Callable[[LayerPE], Field | None]]] = {
    VECTORS: _of_vectors,
    BIAS: _of_bias,
    PHASES: _of_none,
    RELATIVE: _of_none,
    RESPONSE: _of_none,
    COMPUTED_BIAS: _of_none,
}


def stored_values(table: LayerPE) -> Float32[np.ndarray, "..."]:
    """Return what a layer holds, a bias as its table: nothing is expanded."""
    return table.held.table if isinstance(table.held, Lookup) else table.values


def is_learned(pe: PositionEmbedding) -> bool:
    """Whether the tables are parameters that the file stores; norms over fixed ones are not."""
    own = (norm for norm in pe.norms if LayerNormResult.is_position_norm(norm.name))
    return pe.stored and pe.num_parameters > sum(norm.num_parameters for norm in own)


def noun(pe: PositionEmbedding) -> str:
    """Return how a finding calls the table: its name in the file, where there is one."""
    return pe.keys[0] if len(pe.tables) == 1 and pe.keys else pe.family


def command(pe: PositionEmbedding, words: str) -> str:
    """Return a command line about the checkpoint that an embedding came from."""
    question, _, rest = words.partition(" ")
    return " ".join(filter(None, ("pe-inspect", question, pe.source or "CHECKPOINT", rest)))


def listed(names: list[str], most: int = 6) -> str:
    """Write names in a row, the first few of many."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
