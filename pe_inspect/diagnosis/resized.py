"""What `interpolate --write` would make of a file, and which tensors would then fit another's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pe_inspect.baking.plan import BakeRequest, plan
from pe_inspect.diagnosis.mismatch import written
from pe_inspect.errors import PEInspectError
from pe_inspect.kinds.layouts import source_grid
from pe_inspect.kinds.position_embedding import PositionEmbedding
from pe_inspect.loading.checkpoint import Checkpoint
from pe_inspect.resampling.model_grids import main_of

__all__ = ["Resized", "resized_as"]

Grid = tuple[int, int]


@dataclass(frozen=True)
class Resized:
    """The file at the grid of another one.

    Attributes:
        grid_size: the other's.
        fits: the names of the tensors that it changes, and that then have the other's shapes.
        command: what writes it; empty for a state dict in memory.
    """

    grid_size: Grid
    fits: frozenset[str]
    command: str


def resized_as(
    here: Checkpoint, there: Checkpoint, others: Sequence[PositionEmbedding]
) -> Resized | None:
    """Plan the file at the other's grid; `None` where no size makes any of its tensors fit."""
    if not others:
        return None
    main = main_of(others, in_pixels=False)
    if not main.tables:
        return None
    grid = source_grid(main)
    shapes = _shapes_at(here, grid)
    fits = {k for k, shape in shapes.items() if k in there and there.shape(k) == shape}
    if not fits:
        return None
    command = "" if here.format == "state_dict" else written(here, grid)
    return Resized(grid, frozenset(fits), command)


def _shapes_at(here: Checkpoint, grid: Grid) -> Mapping[str, tuple[int, ...]]:
    try:
        changes = plan(here, BakeRequest(grid=grid)).changes
    except PEInspectError:  # the size or the scheme does not allow it
        return {}
    return {key: values.shape for key, values in changes.items()}
