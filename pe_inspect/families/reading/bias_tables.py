"""Which tables of offsets a file holds, under the names of every library."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

import numpy as np

from pe_inspect.arrays import Float32
from pe_inspect.families.reading.bias import CLS_ROWS
from pe_inspect.families.reading.names import block_names, block_of, in_order, trunk
from pe_inspect.families.reading.read_tensor import read_float32
from pe_inspect.loading.checkpoint import Checkpoint

__all__ = ["TABLE", "BiasTable", "find_bias_tables"]

TABLE: Final = "relative_position_bias_table"

_INDEX: Final = "relative_position_index"
_IN_BLOCK: Final = re.compile(
    r"(?:attn\.|attention\.(?:self\.|attention\.)?|"
    r"(?P<part>attn_block|attn_grid)\.attn\.|attn\.(?P<inner>attn_block|attn_grid)\.|"
    r"layers\.(?P<outer>window_attention|grid_attention)\.attn_layer\.1\.)?"
    r"(?:relative_position_bias\.|rel_pos\.)?" + TABLE
)
_EMBEDDING: Final = re.compile(r"([26])\.fn\.rel_pos_bias\.weight")  # lucidrains' MaxViT
_EMBEDDED_PARTS: Final = {"2": "attn_block", "6": "attn_grid"}
_SHARED: Final = re.compile(
    r"(?:encoder\.)?(?:rel_pos_bias|relative_position_bias|shared_position_bias)\." + TABLE
)


@dataclass(frozen=True)
class BiasTable:
    """A stored table of offsets, and one of the blocks that add it.

    Attributes:
        layer: timm's name of the block.
        key: the checkpoint's name of the table; one that blocks share occurs once a block.
        rows: offsets, and three more where there is a CLS token.
        heads: attention heads.
        part: which attention of the block, where it has two, as MaxViT's have.
        window: (H, W) where the shape says it: heads × (2H − 1) × (2W − 1), as MaxViT stores it.
    """

    layer: str
    key: str
    rows: int
    heads: int
    part: str = ""
    window: tuple[int, int] | None = None

    @property
    def index_key(self) -> str:
        """Where a file that persists the index keeps it."""
        return self.key.removesuffix(TABLE) + _INDEX

    @property
    def is_of_a_stage(self) -> bool:
        """Whether it is a pyramid's, whose stages may differ in window."""
        return not self.layer.startswith("blocks.")

    def read(self, checkpoint: Checkpoint) -> Float32[np.ndarray, "heads offsets"]:
        """Read the table, one row a head, offsets being query − key.

        The tables of three axes count key − query, and so are read backwards.
        """
        values = read_float32(checkpoint, self.key)
        return values.T if self.window is None else values[:, ::-1, ::-1].reshape(self.heads, -1)


def find_bias_tables(checkpoint: Checkpoint) -> tuple[BiasTable, ...]:
    """Return the tables of offsets in block order; one that all blocks share, once a block."""
    names = trunk(checkpoint)
    own, shared = _embedded(checkpoint), []
    for bare, key in names.items():
        if not bare.endswith(TABLE):
            continue
        found, shape = block_of(bare), checkpoint.shape(key)
        match = _IN_BLOCK.fullmatch(found[1]) if found else None
        if found and match and (table := _table(found[0], key, shape)):
            part = match["part"] or match["inner"] or match["outer"] or ""
            own.append(BiasTable(*table, part=part, window=_window(shape)))
        elif _SHARED.fullmatch(bare) and _table("", key, shape):
            shared.append(key)
    if own or not shared:
        return tuple(sorted(own, key=lambda table: (in_order(table.layer), _rank(table.part))))
    rows, heads = checkpoint.shape(shared[0])
    return tuple(BiasTable(layer, shared[0], rows, heads) for layer in block_names(checkpoint))


def _embedded(checkpoint: Checkpoint) -> list[BiasTable]:
    """Return the tables of lucidrains' MaxViT, whose layers are numbered.

    An even number of rows is its variant with register tokens, whose last row is theirs.
    """
    found = []
    for bare, key in trunk(checkpoint).items():
        block, shape = block_of(bare), checkpoint.shape(key)
        match = _EMBEDDING.fullmatch(block[1]) if block else None
        if block and match and len(shape) == 2 and shape[0] % 2 and shape[1]:
            found.append(BiasTable(block[0], key, *shape, part=_EMBEDDED_PARTS[match[1]]))
    return found


def _rank(part: str) -> int:
    """Order the two attentions of a MaxViT block as it runs them: within windows, then across."""
    return int("grid" in part)


def _table(layer: str, key: str, shape: tuple[int, ...]) -> tuple[str, str, int, int] | None:
    """Return (layer, key, rows, heads) of a table of offsets, else `None`.

    Its rows are odd · odd offsets, with three more for CLS or without.
    """
    if len(shape) == 3 and shape[0] and shape[1] % 2 and shape[2] % 2:
        return layer, key, shape[1] * shape[2], shape[0]
    if len(shape) == 2 and shape[1] > 0 and (shape[0] % 2 == 1 or shape[0] > CLS_ROWS):
        return layer, key, shape[0], shape[1]
    return None


def _window(shape: tuple[int, ...]) -> tuple[int, int] | None:
    return ((shape[1] + 1) // 2, (shape[2] + 1) // 2) if len(shape) == 3 else None
