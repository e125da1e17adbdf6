"""Is an embedding healthy? Every check of `_checks`, run on one embedding."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from pe_inspect.analysis import questions
from pe_inspect.analysis.common.notebook_repr import Shown
from pe_inspect.arrays import Float, Float32
from pe_inspect.diagnosis.checks import checks
from pe_inspect.diagnosis.neighbours import Positions
from pe_inspect.finding import Finding
from pe_inspect.kinds.position_embedding import PositionEmbedding

__all__ = ["Diagnosis", "doctor", "smoothness"]

AXIS_SHARE = 0.9  # of a half's variance along one axis, for it to encode that axis


@dataclass(frozen=True)
class Diagnosis(Shown):
    """What the checks found in one embedding.

    Attributes:
        family: the embedding's scheme.
        findings: what is wrong, in the order of the checks.
        ran: the names of the checks.
        notes: what is true and harmless: rows for prefix tokens, which half encodes which axis.
        numbers: what was measured beside the checks.
        pe: what was examined.
    """

    family: str
    findings: tuple[Finding, ...]
    ran: tuple[str, ...]
    notes: tuple[str, ...] = ()
    numbers: dict[str, float] = field(default_factory=dict)
    pe: PositionEmbedding | None = field(default=None, repr=False, compare=False)
    question: ClassVar[str] = "doctor"

    def __repr__(self) -> str:
        count = len(self.findings)
        found = f"{count} finding{'s' * (count != 1)}" if count else "healthy"
        return f"Diagnosis({self.family}, {len(self.ran)} checks, {found})"

    @property
    def healthy(self) -> bool:
        """Whether no check found anything."""
        return not self.findings

    @property
    def parameters(self) -> dict[str, Any]:
        """The checks that ran."""
        return {"checks": list(self.ran)}

    def summary(self) -> dict[str, float]:
        """How many findings there are of each code, and what was measured."""
        counts = Counter(finding.code for finding in self.findings)
        return {"findings": float(len(self.findings)), **map_floats(counts), **self.numbers}

    def to_frame(self) -> Any:
        """One row a finding, as a pandas data frame."""
        import pandas as pd

        columns = ["code", "severity", "where", "message", "why", "mend"]
        rows = [[getattr(finding, name) for name in columns] for finding in self.findings]
        return pd.DataFrame(rows, columns=columns)


def map_floats(counts: Counter[str]) -> dict[str, float]:
    """Return counts as floats, as every summary holds them."""
    return {name: float(count) for name, count in counts.items()}


@questions.register("doctor")
def doctor(pe: PositionEmbedding) -> Diagnosis:
    """Run every check on one embedding.

    Args:
        pe: what `pe_inspect.extract` returned.

    Returns:
        A diagnosis without findings where the embedding is healthy.
    """
    pe.require_flat_grid("doctor")
    found = tuple(finding for run in checks.values() for finding in run(pe))
    return Diagnosis(pe.family, found, tuple(checks), _notes(pe), _numbers(pe), pe)


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


def _numbers(pe: PositionEmbedding) -> dict[str, float]:
    if not pe.scheme_kind.has_token_rows:
        return {}
    table = pe.tables[0]
    return {"neighbour_correlation": Positions(table.patches).correlation(table.grid_size)}


def _notes(pe: PositionEmbedding) -> tuple[str, ...]:
    if not pe.scheme_kind.has_token_rows:
        return ()
    return (*_zero_prefix(pe), *_axes(pe))


def _zero_prefix(pe: PositionEmbedding) -> tuple[str, ...]:
    zero = [i for i, row in enumerate(pe.tables[0].prefix) if not row.any()]
    if not zero:
        return ()
    return (
        f"prefix row {', '.join(map(str, zero))} is zero: that token has no position of its own",
    )


def _axes(pe: PositionEmbedding) -> tuple[str, ...]:
    """Say which half of the channels encodes x and which y, where the halves part."""
    table = pe.tables[0]
    grid = table.patches.reshape(*table.grid_size, -1).astype(np.float64)
    if min(table.grid_size) < 2 or grid.shape[-1] < 2 or not np.isfinite(grid).all():
        return ()
    halves = np.array_split(grid, 2, axis=-1)
    names = [_axis(half) for half in halves]
    if None in names or names[0] == names[1]:
        return ()
    return (f"the first half of the channels encodes {names[0]}, the second {names[1]}",)


def _axis(half: Float[np.ndarray, "rows columns channels"]) -> str | None:
    """Return the axis along which nine tenths of the variance lie."""
    centred = half - half.mean(axis=(0, 1))
    total = np.square(centred).mean()
    if not total > 0:
        return None
    along_y = np.square(centred.mean(axis=1)).mean() / total
    along_x = np.square(centred.mean(axis=0)).mean() / total
    if along_x > AXIS_SHARE:
        return "x (columns)"
    return "y (rows)" if along_y > AXIS_SHARE else None
