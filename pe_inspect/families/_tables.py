"""Where a checkpoint keeps the tables that are added to its tokens, whatever the library."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

import numpy as np

from pe_inspect._typing import Float32
from pe_inspect.errors import AmbiguousCheckpoint
from pe_inspect.families._grid import Layout, layout, x
from pe_inspect.families._hints import is_flag
from pe_inspect.families._names import trunk
from pe_inspect.families._read import read_float32
from pe_inspect.loading.checkpoint import Checkpoint

__all__ = ["Table", "find_tables", "nonfinite_note"]

# Bare names of the one table, the likeliest first.
_ONE: Final = (
    "pos_embed",
    "embeds.pos_embed",
    "pos_embedding",
    "embeddings.position_embeddings",
    "embeddings.position_embedding.weight",
    "encoder.pos_embedding",
    "Transformer/posembed_input/pos_embedding",
    "Transformer/pos_embedding",
    "embedding.pos_embedding",
    "embedding.pos_embedding.pos_embedding",
    "positional_embedding",
    "absolute_pos_embed",
)
_UNNAMED: Final = ("", "arr_0")  # what a bare .npy and numpy.savez call their array
_PER_BLOCK: Final = re.compile(r"pos_embed(\d+)")
_WIDTHS: Final = (
    "norm.weight",
    "blocks.0.norm1.weight",
    "cls_token",
    "patch_embed.proj.bias",
    "embeddings.patch_embeddings.projection.bias",
)


@dataclass(frozen=True)
class Table:
    """One stored table of vectors.

    Attributes:
        key: the checkpoint's name of it.
        shape: as the file stores it.
        rows: prefix rows and patches.
        embed_dim: channels.
        grid_size: (H, W) where the shape itself says it, as four axes do.
        channels_first: whether the channels precede the grid.
        block: which block it belongs to; `None` for a table at the input.
    """

    key: str
    shape: tuple[int, ...]
    rows: int
    embed_dim: int
    grid_size: tuple[int, int] | None = None
    channels_first: bool = False
    block: int | None = None

    def read(self, checkpoint: Checkpoint) -> Float32[np.ndarray, "tokens embed_dim"]:
        """Read the values, one row a token."""
        values = read_float32(checkpoint, self.key)
        if self.channels_first:
            values = np.moveaxis(values, 1, -1)
        return values.reshape(self.rows, self.embed_dim)

    def layout(self, checkpoint: Checkpoint) -> Layout:
        """Divide the rows into prefix rows and a grid.

        Raises:
            AmbiguousCheckpoint: several readings fit, or what was said does not.
        """
        if self.grid_size is None:
            return layout(checkpoint, checkpoint.stored_key(self.key), self.rows)
        said = checkpoint.hints.grid_size
        if is_flag(checkpoint, "grid_size") and said is not None and said != self.grid_size:
            raise AmbiguousCheckpoint(
                f"{checkpoint.stored_key(self.key)} has shape {self.shape}, a "
                f"{x(self.grid_size)} grid; --grid-size says {x(said)}. Leave --grid-size out."
            )
        return Layout(self.grid_size)


def find_tables(checkpoint: Checkpoint) -> tuple[Table, ...]:
    """Return the one table at the input, or one a block in block order; reads shapes only.

    Raises:
        AmbiguousCheckpoint: there is one a block, and some are missing or of another shape.
    """
    names = trunk(checkpoint)
    per_block = _per_block(checkpoint)
    candidates = _UNNAMED + _ONE if len(checkpoint) == 1 else _ONE
    found = (names[name] for name in candidates if name in names and not _is_text(name, names))
    tables = (_table(checkpoint, key) for key in found)
    one = next((table for table in tables if table is not None), None)
    return (one,) if one is not None else per_block


def _is_text(name: str, names: object) -> bool:
    """Whether this is the table of CLIP's text tower: `positional_embedding` beside its tokens."""
    return name == "positional_embedding" and "token_embedding.weight" in names  # type: ignore[operator]


def _table(checkpoint: Checkpoint, key: str, block: int | None = None) -> Table | None:
    """Understand a table's shape; `None` where it is no table of vectors."""
    shape = checkpoint.shape(key)
    if 0 in shape:
        return None
    if len(shape) == 2 or (len(shape) == 3 and shape[0] == 1):
        return Table(key, shape, shape[-2], shape[-1], block=block)
    if len(shape) == 3:  # big_vision's NaFlex: (rows, columns, embed_dim)
        return Table(key, shape, shape[0] * shape[1], shape[2], (shape[0], shape[1]))
    if len(shape) == 4 and shape[0] == 1:
        return _of_four_axes(checkpoint, key, shape)
    return None


def _of_four_axes(checkpoint: Checkpoint, key: str, shape: tuple[int, ...]) -> Table:
    """Tell (1, H, W, D) from (1, D, H, W) by the model's width, else by the longest axis."""
    width = _width(checkpoint)
    first = shape[1] == width if width in (shape[1], shape[3]) else shape[1] > shape[3]
    if first and shape[3] != width:
        grid, dim = (shape[2], shape[3]), shape[1]
    else:
        first, grid, dim = False, (shape[1], shape[2]), shape[3]
    return Table(key, shape, grid[0] * grid[1], dim, grid, channels_first=first)


def _width(checkpoint: Checkpoint) -> int | None:
    names = trunk(checkpoint)
    shapes = (checkpoint.shape(names[name]) for name in _WIDTHS if name in names)
    return next((shape[-1] for shape in shapes if shape), None)


def _per_block(checkpoint: Checkpoint) -> tuple[Table, ...]:
    """Return LaPE's unshared tables `pos_embed0`, `pos_embed1`, …; none that have four axes."""
    names = trunk(checkpoint)
    numbered = sorted((int(m[1]), names[m[0]]) for m in map(_PER_BLOCK.fullmatch, names) if m)
    tables = [_table(checkpoint, key, block) for block, key in numbered]
    found = [t for t in tables if t is not None and t.grid_size is None]
    if not found:
        return ()
    missing = sorted(set(range(found[-1].block or 0)) - {t.block for t in found})
    if missing:
        raise AmbiguousCheckpoint(
            f"{found[0].key} … {found[-1].key} are one table a block, and "
            f"{', '.join(f'pos_embed{i}' for i in missing)} is missing. "
            "The file is not whole: no block's table can be told from its neighbour's."
        )
    return _of_one_shape(found)


def _of_one_shape(tables: list[Table]) -> tuple[Table, ...]:
    odd = next(
        (t for t in tables if (t.rows, t.embed_dim) != (tables[0].rows, tables[0].embed_dim)), None
    )
    if odd is not None:
        raise AmbiguousCheckpoint(
            f"{tables[0].key} has shape {tables[0].shape}, {odd.key} has {odd.shape}; "
            "one table a block must have one shape."
        )
    return tuple(tables)


def nonfinite_note(name: str, values: Float32[np.ndarray, "..."]) -> tuple[str, ...]:
    """Return a note that counts NaN and infinite values, or nothing where there are none."""
    count = int((~np.isfinite(values)).sum())
    if not count:
        return ()
    return (f"{name} holds {count} non-finite value{'s' if count > 1 else ''}",)
