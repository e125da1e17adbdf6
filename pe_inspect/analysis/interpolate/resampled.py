"""A resampled table with the numbers of what resampling did to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from pe_inspect.analysis.interpolate.measures import measured
from pe_inspect.analysis.interpolate.two_grids import TableOnTwoGrids

__all__ = ["ResampledTable"]


@dataclass(frozen=True, eq=False)
class ResampledTable(TableOnTwoGrids):
    """A table on the source grid and on the target grid, and its measures."""

    @cached_property
    def measures(self) -> Mapping[str, float]:
        """The numbers of `DEFINITIONS`."""
        return measured(self)
