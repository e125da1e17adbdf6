"""Which tables of offsets a file holds, under the names of every library."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from pe_inspect.arrays import Float32
from pe_inspect.families.reading.names import in_order
from pe_inspect.families.reading.tensors import answered_once
from pe_inspect.families.trunk import Trunk

__all__ = ["CLS_ROWS", "TABLE", "BiasTable", "find_bias_tables"]

CLS_ROWS: Final = 3  # BEiT's last: CLS asks a patch, a patch asks CLS, CLS asks itself

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

    def read(self, trunk: Trunk) -> Float32[np.ndarray, "heads offsets"]:
        """Read the table, one row a head, offsets being query − key.

        The tables of three axes count key − query, and so are read backwards.
        """
        values = trunk.float32(self.key)
        return values.T if self.window is None else values[:, ::-1, ::-1].reshape(self.heads, -1)


@answered_once
def find_bias_tables(trunk: Trunk) -> tuple[BiasTable, ...]:
    """Return the tables of offsets in block order; one that all blocks share, once a block."""
    own = [*_embedded(trunk), *_in_blocks(trunk)]
    keys = (each.key for each in trunk.matching(_SHARED))
    shared = [key for key in keys if _is_shared(trunk.shape(key))]
    if own or not shared:
        return tuple(sorted(own, key=lambda table: (in_order(table.layer), _rank(table.part))))
    rows, heads = trunk.shape(shared[0])
    return tuple(BiasTable(layer, shared[0], rows, heads) for layer in trunk.blocks)


def _in_blocks(trunk: Trunk) -> Iterator[BiasTable]:
    """Yield the tables that are a block's own."""
    for each in trunk.matching_in_blocks(_IN_BLOCK):
        shape, match = trunk.shape(each.key), each.groups
        if table := _table(each.layer, each.key, shape):
            part = match["part"] or match["inner"] or match["outer"] or ""
            yield BiasTable(*table, part=part, window=_window(shape))


def _embedded(trunk: Trunk) -> list[BiasTable]:
    """Return the tables of lucidrains' MaxViT, whose layers are numbered.

    An even number of rows is its variant with register tokens, whose last row is theirs.
    """
    found = []
    for each in trunk.matching_in_blocks(_EMBEDDING):
        shape, part = trunk.shape(each.key), _EMBEDDED_PARTS[each.groups[1]]
        if len(shape) == 2 and shape[0] % 2 and shape[1]:
            found.append(BiasTable(each.layer, each.key, *shape, part=part))
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


def _is_shared(shape: tuple[int, ...]) -> bool:
    return len(shape) == 2 and _table("", "", shape) is not None


def _window(shape: tuple[int, ...]) -> tuple[int, int] | None:
    return ((shape[1] + 1) // 2, (shape[2] + 1) // 2) if len(shape) == 3 else None
