"""One stored table of vectors: how its axes lie, how it is read, how its rows divide."""

from __future__ import annotations

from dataclasses import dataclass
from math import isqrt
from typing import Final, Literal

import numpy as np

from pe_inspect.arrays import Float32, Shaped
from pe_inspect.errors import AmbiguousCheckpoint
from pe_inspect.families.reading.grid import Layout, layout, x
from pe_inspect.families.reading.tokens import PrefixTokens
from pe_inspect.families.trunk import Trunk

__all__ = ["StoredTable", "channels_first", "nonfinite_note", "table_of"]

Arrangement = Literal["rows", "channels first", "blocks", "axes", "x", "y", "stack"]

_WIDTHS: Final = (
    "patch_embed.conv.bias",  # PiT's, whose last norm is of another width
    "norm.weight",
    "blocks.0.norm1.weight",
    "cls_token",
    "patch_embed.proj.bias",
    "embeddings.patch_embeddings.projection.bias",
)


@dataclass(frozen=True)
class StoredTable:
    """One stored table of vectors.

    Attributes:
        key: the checkpoint's name of it.
        shape: as the file stores it.
        rows: prefix rows and patches.
        embed_dim: channels.
        grid_size: (H, W) where the shape itself says it, as four axes do.
        arrangement: `"rows"` (one a token, row-major), `"channels first"`, `"blocks"` (NesT's:
            block by block, each row-major), `"axes"` (a table for each axis, to be added), `"y"`
            or `"x"` (one axis of such a pair), `"stack"` (YOLOS's: the tables of all blocks but
            the first in one).
        partner: the checkpoint's name of the x axis, where y and x are two tensors.
        block: which block it belongs to; `None` for a table that is no block's own.
        layer: where it enters, where that is neither the input nor a block.
        part: which of several tables at the same place this is.
        tokens: its own prefix tokens, where they are not simply the model's.
        notes: what the shape does not tell.
        trailing: further rows behind those of the patches, which are not read.
    """

    key: str
    shape: tuple[int, ...]
    rows: int
    embed_dim: int
    grid_size: tuple[int, int] | None = None
    arrangement: Arrangement = "rows"
    partner: str | None = None
    block: int | None = None
    layer: str = "input"
    part: str = ""
    tokens: PrefixTokens | None = None
    notes: tuple[str, ...] = ()
    trailing: int = 0

    @property
    def keys(self) -> tuple[str, ...]:
        """The checkpoint's names of the tensors that the table is made of."""
        return (self.key,) if self.partner is None else (self.key, self.partner)

    @property
    def enters_at(self) -> str:
        """The input, a block, or timm's path of a stage."""
        return self.layer if self.block is None else f"blocks.{self.block}"

    def read(self, trunk: Trunk) -> Float32[np.ndarray, "tokens embed_dim"]:
        """Read the values, one row a token."""
        values = trunk.float32(self.key)
        if self.arrangement in ("axes", "x", "y"):
            return self._of_axes(trunk, values)
        if self.arrangement == "channels first":
            values = np.moveaxis(values, 1, -1)
        if self.arrangement == "blocks":
            values = _deblockified(values[0])
        if self.arrangement == "stack":
            values = values[(self.block or 1) - 1]
        return values.reshape(self.rows + self.trailing, self.embed_dim)[: self.rows]

    def _of_axes(
        self, trunk: Trunk, values: Float32[np.ndarray, "..."]
    ) -> Float32[np.ndarray, "tokens embed_dim"]:
        """Gemma's one tensor holds x, then y; elsewhere y and x are two tensors."""
        if self.partner is None:
            across, down = values
        else:
            down, across = values, trunk.float32(self.partner)
        if self.arrangement != "axes":
            return np.asarray(across if self.arrangement == "x" else down)
        height, width = self.grid_size or (0, 0)
        down, across = (axis.reshape(-1, self.embed_dim) for axis in (down, across))
        return np.asarray(down[:height, None] + across[None, :width]).reshape(self.rows, -1)

    def layout(self, trunk: Trunk) -> Layout:
        """Divide the rows into prefix rows and a grid.

        Raises:
            AmbiguousCheckpoint: several readings fit, or what was said does not.
        """
        key = trunk.stored_key(self.key)
        if self.grid_size is None:
            return layout(trunk, key, self.rows, self.tokens)
        said, is_only_one = trunk.hints.grid_size, not self.part and self.layer == "input"
        differs = trunk.hints.is_flag("grid_size") and said != self.grid_size
        if said is not None and differs and is_only_one:
            raise AmbiguousCheckpoint(
                f"{key} has shape {self.shape}, a {x(self.grid_size)} grid; --grid-size says "
                f"{x(said)}. Leave --grid-size out."
            )
        return Layout(self.grid_size)


def _deblockified(
    values: Shaped[np.ndarray, "blocks tokens channels"],
) -> Shaped[np.ndarray, "rows columns channels"]:
    """Undo NesT's division of a square grid into square blocks."""
    blocks, tokens, channels = values.shape
    grid, side = isqrt(blocks), isqrt(tokens)
    by_block = values.reshape(grid, grid, side, side, channels)
    return by_block.transpose(0, 2, 1, 3, 4).reshape(grid * side, grid * side, channels)


def table_of(trunk: Trunk, key: str) -> StoredTable | None:
    """Understand a table's shape; `None` where it is no table of vectors."""
    shape = trunk.shape(key)
    if 0 in shape:
        return None
    if len(shape) == 2 or (len(shape) == 3 and shape[0] == 1):
        return StoredTable(key, shape, shape[-2], shape[-1])
    if len(shape) == 3:  # big_vision's NaFlex: (rows, columns, embed_dim)
        return StoredTable(key, shape, shape[0] * shape[1], shape[2], (shape[0], shape[1]))
    if len(shape) == 4 and shape[0] == 1:
        return _of_four_axes(trunk, key, shape)
    return None


def _of_four_axes(trunk: Trunk, key: str, shape: tuple[int, ...]) -> StoredTable:
    """Tell (1, H, W, D) from (1, D, H, W) by the model's width, else by the longest axis."""
    width = _width(trunk)
    first = shape[1] == width if width in (shape[1], shape[3]) else shape[1] > shape[3]
    if first and shape[3] != width:
        return channels_first(key, shape)
    grid = (shape[1], shape[2])
    notes = _may_be_frames(key, grid)
    return StoredTable(key, shape, grid[0] * grid[1], shape[3], grid, notes=notes)


def _may_be_frames(key: str, grid: tuple[int, int]) -> tuple[str, ...]:
    """Return a note where the axes may be frames and tokens, as in lucidrains' ViViT."""
    patches = grid[1] - 1
    if not key.endswith("pos_embedding") or isqrt(patches) ** 2 != patches or grid[0] == grid[1]:
        return ()
    return (
        f"{key} is read as {grid[0]} rows × {grid[1]} columns; a ViViT's would be {grid[0]} "
        f"frames of {patches} patches and CLS",
    )


def channels_first(key: str, shape: tuple[int, ...]) -> StoredTable:
    """Return the table of shape (1, D, H, W)."""
    _, dim, height, width = shape
    return StoredTable(key, shape, height * width, dim, (height, width), "channels first")


def _width(trunk: Trunk) -> int | None:
    names = trunk.names
    shapes = (trunk.shape(names[name]) for name in _WIDTHS if name in names)
    return next((shape[-1] for shape in shapes if shape), None)


def nonfinite_note(name: str, values: Float32[np.ndarray, "..."]) -> tuple[str, ...]:
    """Return a note that counts NaN and infinite values, or nothing where there are none."""
    count = int((~np.isfinite(values)).sum())
    if not count:
        return ()
    return (f"{name} holds {count} non-finite value{'s' if count > 1 else ''}",)
