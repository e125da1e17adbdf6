"""The readings of a table, with what the table's values say of each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import isnan
from typing import Any, get_args

import numpy as np

from pe_inspect.arrays import Float32
from pe_inspect.diagnosis.held_tables import trunk_of
from pe_inspect.diagnosis.neighbours import Positions
from pe_inspect.diagnosis.readings import Readings, RowDivision, Standing
from pe_inspect.loading.checkpoint import Checkpoint

__all__ = ["Ranked", "ranked", "smoothness"]


@dataclass(frozen=True)
class Ranked:
    """One reading of a table, with what its values say of it.

    Attributes:
        table: all readings of the table.
        reading: this one.
        smoothness: how alike neighbours are on its grid (Moran's I); `None` where not computed.
    """

    table: Readings
    reading: RowDivision
    smoothness: float | None

    def __str__(self) -> str:
        if self.smoothness is None:
            return str(self.reading)
        return f"{self.reading} (neighbours correlate {self.smoothness:.2f})"

    @property
    def is_taken(self) -> bool:
        """Whether every command reads the table so."""
        return self.reading is self.table.taken

    def as_dict(self) -> dict[str, Any]:
        """Return the reading as one JSON object."""
        return {
            "key": self.table.key,
            "rows": self.table.rows,
            "grid_size": list(self.reading.grid_size),
            "num_prefix_rows": self.reading.num_prefix_rows,
            "taken": self.is_taken,
            "why": self.reading.because,
            "neighbour_correlation": self.smoothness,
        }


def ranked(checkpoint: Checkpoint, tables: Sequence[Readings]) -> tuple[Ranked, ...]:
    """Measure every reading; where none is taken, order those of one standing by their values."""
    return tuple(each for table in tables for each in _ranked(checkpoint, table))


def _ranked(checkpoint: Checkpoint, found: Readings) -> list[Ranked]:
    measured = list(_measured(checkpoint, found))
    if found.taken is None:
        places = get_args(Standing)
        measured.sort(key=lambda r: (places.index(r.reading.standing), -(r.smoothness or 0.0)))
    return measured


def _measured(checkpoint: Checkpoint, found: Readings) -> Iterator[Ranked]:
    if found.table is None:
        yield from (Ranked(found, each, None) for each in found.all)
        return
    divisions = [(each.num_prefix_rows, each.grid_size) for each in found.all]
    alike = smoothness(found.table.read(trunk_of(checkpoint)), divisions)
    for each, near in zip(found.all, alike):
        yield Ranked(found, each, None if isnan(near) else near)


def smoothness(
    rows: Float32[np.ndarray, "tokens channels"], divisions: Sequence[tuple[int, tuple[int, int]]]
) -> list[float]:
    """How alike neighbours are in every reading of a table: Moran's I, NaN where it has none.

    Args:
        rows: of the table, prefix rows and patches.
        divisions: (prefix rows, (H, W)) of each reading.
    """
    positions = {prefix: Positions(rows[prefix:]) for prefix in {prefix for prefix, _ in divisions}}
    return [
        positions[prefix].correlation(grid) if min(grid) > 1 else float("nan")
        for prefix, grid in divisions
    ]
