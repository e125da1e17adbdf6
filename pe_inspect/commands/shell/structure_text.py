"""What `structure` prints: the indices of the stored table beside their baselines, the finding."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from pe_inspect.commands.shell.describe import aligned, number

if TYPE_CHECKING:
    from pe_inspect.analysis.structure import StructureResult

__all__ = ["side_by_side"]


def side_by_side(result: StructureResult) -> Iterator[str]:
    """Yield the finding, then every number of the summary with its baselines beside it."""
    yield result.finding
    baselines = {name: found.row() for name, found in result.baselines.items()}
    made, words = result.decided, {}
    for name, value in result.summary().items():
        beside = [f"{other} {number(row[name])}" for other, row in baselines.items()
                  if name in row and not math.isnan(row[name])]  # fmt: skip
        if name in result.floors:
            beside.append(f"chance {number(result.floors[name])}")
        said = "missing" if math.isnan(value) else number(value)
        notes = ["by construction"] if name in made else beside if said != "missing" else []
        words[name] = f"{said}   ({', '.join(notes)})" if notes else said
    yield from aligned(words)
