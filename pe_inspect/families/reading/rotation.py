"""What every reader of rotary angles needs: the container, the pairing, and the grid.

A rotation turns pairs of channels. Two conventions are in use: neighbours (2i, 2i + 1), called
interleaved, and (i, i + head_dim/2), called half; Gemma halves the channels of each axis. A file
of the one loaded as the other is wrong everywhere, so the one that was found is a note.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np

from pe_inspect.arrays import Float, Float32
from pe_inspect.errors import GridNotStored
from pe_inspect.families.reading.arch import grid_of_model
from pe_inspect.families.reading.grid import image_grid, period, x
from pe_inspect.families.reading.tables import find_tables
from pe_inspect.families.trunk import Trunk
from pe_inspect.kinds.parts import Grid

__all__ = [
    "PAIRINGS",
    "Pairing",
    "Rotation",
    "first_of_pairs",
    "grid_of",
    "pairing_of",
    "same_for_all",
    "shown_grid",
]

Pairing = Literal["interleaved", "half", "half of each axis"]
PAIRINGS: Final[dict[Pairing, str]] = {
    "interleaved": "pairs of channels are interleaved: (2i, 2i + 1)",
    "half": "pairs of channels lie half a head apart: (i, i + head_dim/2), as in rotate_half",
    "half of each axis": "pairs of channels lie a quarter of a head apart: (i, i + head_dim/4), x "
    "in the first half of a head and y in the second",
}


@dataclass(frozen=True, eq=False)
class Rotation:
    """Angles in radians, (num_heads or 1, patches, head_dim / 2), for every block.

    Attributes:
        layers: (block, angles), in block order; blocks that turn alike share one array.
        grid_size: (H, W); (T, H, W) of clips.
        keys: the checkpoint's names of what was read.
        num_parameters: learned scalars; the fixed kinds have none.
        stored: whether the file holds what the angles come from.
        notes: what was assumed.
    """

    layers: tuple[tuple[str, Float32[np.ndarray, "_heads _patches _half_head_dim"]], ...]
    grid_size: Grid
    keys: tuple[str, ...] = ()
    num_parameters: int = 0
    stored: bool = True
    notes: tuple[str, ...] = ()


def pairing_of(table: Float[np.ndarray, "tokens channels"]) -> Pairing | None:
    """Tell the convention by which columns of a table of cosines or sines are equal.

    `None` where neither or both fit; a table of width 2 has one pair in any convention.
    """
    fits: dict[Pairing, bool] = {
        "interleaved": np.array_equal(table[:, ::2], table[:, 1::2]),
        "half": _repeats(table),
        "half of each axis": all(_repeats(axis) for axis in np.array_split(table, 2, axis=1)),
    }
    found = [name for name, is_so in fits.items() if is_so]
    return found[0] if len(found) == 1 else None


def _repeats(table: Float[np.ndarray, "tokens channels"]) -> bool:
    half = table.shape[1] // 2
    return np.array_equal(table[:, :half], table[:, half:])


def first_of_pairs(
    table: Float[np.ndarray, "tokens channels"], pairing: Pairing | None
) -> Float[np.ndarray, "tokens pairs"]:
    """Return one column a pair."""
    half, quarter = table.shape[1] // 2, table.shape[1] // 4
    if pairing == "half of each axis":
        return np.concatenate([table[:, :quarter], table[:, half : half + quarter]], axis=1)
    return table[:, :half] if pairing == "half" else table[:, ::2]


def grid_of(trunk: Trunk, model: Any, key: str) -> tuple[tuple[int, int], tuple[str, ...]]:
    """Return the grid that the angles are asked for: a rotary model has none of its own.

    Raises:
        AmbiguousCheckpoint: nothing says one.
    """
    if (said := trunk.hints.grid_size) is not None:
        return said, (f"grid {x(said)} from {trunk.hints.origin('grid_size')}",)
    tables = find_tables(trunk)
    if tables and tables[0].arrangement not in ("x", "y"):
        where = tables[0].layout(trunk)
        return where.grid_size, (f"grid {x(where.grid_size)} as in {tables[0].key}",)
    if (grid := image_grid(trunk)) is not None:
        return grid, (f"grid {x(grid)} from img_size ({trunk.hints.origin('img_size')})",)
    shared = trunk.names.get("freqs_t_x")
    if shared is not None and (grid := shown_grid(trunk, shared)) is not None:
        return grid, (f"grid {x(grid)} read from freqs_t_x",)
    if model is not None:
        rows, columns = grid_of_model(trunk, model)
        return (rows, columns), (f"grid {rows}×{columns} of {trunk.hints.arch}",)
    name = trunk.stored_key(key) if key in trunk else key
    raise GridNotStored(
        f"{name} says no grid: rotary angles are computed for any. "
        "Pass --grid-size HxW, or --arch timm:NAME for the grid that it was trained on."
    )


def shown_grid(trunk: Trunk, key: str) -> tuple[int, int] | None:
    """Return the grid of the original repository's x positions, which count 0 … W−1 a row."""
    if key not in trunk:
        return None
    positions = np.asarray(trunk.tensor(key)).reshape(-1, 1)
    columns = period(positions)
    return None if len(positions) % columns else (len(positions) // columns, columns)


def same_for_all(trunk: Trunk, angles: np.ndarray) -> tuple[tuple[str, np.ndarray], ...]:
    """Return the same angles for every block of the file."""
    blocks = trunk.blocks or [f"blocks.{i}" for i in range(max(trunk.depth, 1))]
    return tuple((block, angles) for block in blocks)
