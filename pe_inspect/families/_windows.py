"""Which window a table of offsets belongs to, and which tables of offsets a file holds."""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import isqrt
from typing import Final

import numpy as np

from pe_inspect.errors import AmbiguousCheckpoint
from pe_inspect.families._bias import CLS_ROWS, cls_tokens, offset_index, windows_of
from pe_inspect.families._grid import image_grid, x
from pe_inspect.families._hints import is_flag, origin
from pe_inspect.families._names import block_names, block_of, in_order, trunk
from pe_inspect.families._norms import BIAS_NORM
from pe_inspect.loading.checkpoint import Checkpoint

__all__ = ["BiasTable", "Window", "find_bias_tables", "index_note", "window_of"]

_TABLE: Final = "relative_position_bias_table"
_INDEX: Final = "relative_position_index"
_IN_BLOCK: Final = re.compile(
    r"(?:attn\.|attention\.(?:self\.|attention\.)?)?(?:relative_position_bias\.)?" + _TABLE
)
_SHARED: Final = re.compile(
    r"(?:encoder\.)?(?:rel_pos_bias|relative_position_bias|shared_position_bias)\." + _TABLE
)


@dataclass(frozen=True)
class BiasTable:
    """A stored table of offsets, and one of the blocks that add it.

    Attributes:
        layer: timm's name of the block.
        key: the checkpoint's name of the table; one that blocks share occurs once a block.
        rows: offsets, and three more where there is a CLS token.
        heads: attention heads.
    """

    layer: str
    key: str
    rows: int
    heads: int

    @property
    def index_key(self) -> str:
        """Where a file that persists the index keeps it."""
        return self.key.removesuffix(_TABLE) + _INDEX


@dataclass(frozen=True)
class Window:
    """The window of a table.

    Attributes:
        grid_size: (H, W).
        num_prefix: 1 where the table has rows for CLS.
        notes: what was inferred.
    """

    grid_size: tuple[int, int]
    num_prefix: int
    notes: tuple[str, ...] = ()


def find_bias_tables(checkpoint: Checkpoint) -> tuple[BiasTable, ...]:
    """Return the tables of offsets in block order; one that all blocks share, once a block."""
    names = trunk(checkpoint)
    own, shared = [], []
    for bare, key in names.items():
        found = block_of(bare)
        if not bare.endswith(_TABLE) or not _is_table_of_offsets(checkpoint.shape(key)):
            continue
        if found and _IN_BLOCK.fullmatch(found[1]):
            own.append(BiasTable(found[0], key, *checkpoint.shape(key)))
        elif _SHARED.fullmatch(bare):
            shared.append(key)
    if own or not shared:
        return tuple(sorted(own, key=lambda table: in_order(table.layer)))
    shape = checkpoint.shape(shared[0])
    return tuple(BiasTable(layer, shared[0], *shape) for layer in block_names(checkpoint))


def _is_table_of_offsets(shape: tuple[int, ...]) -> bool:
    """Whether (rows, heads) can be odd · odd offsets, with three rows more for CLS or without."""
    return len(shape) == 2 and shape[1] > 0 and (shape[0] % 2 == 1 or shape[0] > CLS_ROWS)


def window_of(checkpoint: Checkpoint, table: BiasTable) -> Window:
    """Return the window of a table: as said, as the file shows, else the square one.

    Raises:
        AmbiguousCheckpoint: several windows fit and none is square, or none that was said fits.
    """
    num_prefix = cls_tokens(table.rows)
    tokens = _tokens(checkpoint, table)
    options = windows_of(table.rows, tokens) or windows_of(table.rows)
    told = _said(checkpoint, table, options)
    if told is None and is_flag(checkpoint, "grid_size"):
        raise AmbiguousCheckpoint(_does_not_fit(checkpoint, table, options))
    told = told or _shown(checkpoint, table, options)
    if told is not None:
        return Window(told[0], num_prefix, (told[1],))
    if len(options) == 1 or options[0][0] == options[0][1]:
        note = f"window {x(options[0])} inferred from the {table.rows} rows of the bias table"
        return Window(options[0], num_prefix, (note,))
    raise AmbiguousCheckpoint(
        f"{checkpoint.stored_key(table.key)} has {table.rows} rows: a window of "
        f"{' or '.join(map(x, options[:6]))}. Pass --grid-size {'x'.join(map(str, options[0]))}, "
        "the one that the model was built with."
    )


def _tokens(checkpoint: Checkpoint, table: BiasTable) -> int | None:
    """Return a window's tokens where the width of LaPE's norm or a stored index tells them.

    Raises:
        AmbiguousCheckpoint: the norm over the keys has a width that no window of the table has.
    """
    norm = table.key.removesuffix(_TABLE) + BIAS_NORM.removeprefix("attn.") + ".weight"
    if norm in checkpoint:
        width = checkpoint.shape(norm)[0]
        if not windows_of(table.rows, width):
            raise AmbiguousCheckpoint(
                f"{norm} has {width} features, and no window of {table.rows} rows has so many "
                "patches. The file mixes two models."
            )
        return width
    if table.index_key not in checkpoint:
        return None
    shape = checkpoint.shape(table.index_key)
    return shape[0] if len(shape) == 2 else isqrt(shape[0])


def _said(
    checkpoint: Checkpoint, table: BiasTable, options: list[tuple[int, int]]
) -> tuple[tuple[int, int], str] | None:
    """Return (window, note) where a hint names a window, or the larger one of a smaller stage."""
    said = checkpoint.hints.grid_size
    if said is None:
        return None
    if said in options:
        return said, f"window {x(said)} from {origin(checkpoint, 'grid_size')}"
    if not _is_swin(table):
        return None
    return _shrunk(said, _halved(image_grid(checkpoint), in_order(table.layer)[0]), options)


def _shown(
    checkpoint: Checkpoint, table: BiasTable, options: list[tuple[int, int]]
) -> tuple[tuple[int, int], str] | None:
    """Return (window, note) where the image size tells the window, or the stored index does."""
    image = None if _is_swin(table) else image_grid(checkpoint)
    if image is not None and image in options:
        who = origin(checkpoint, "img_size")
        return image, f"grid {x(image)} from img_size and patch size ({who})"
    return _shown_by_index(checkpoint, table, options)


def _is_swin(table: BiasTable) -> bool:
    return table.layer.startswith("layers.")


def _halved(image: tuple[int, int] | None, stage: int) -> tuple[int, int] | None:
    """Return the grid of a Swin stage: patch merging halves it, rounding up."""
    if image is None:
        return None
    return -(-image[0] // 2**stage), -(-image[1] // 2**stage)


def _shrunk(
    said: tuple[int, int], stage: tuple[int, int] | None, options: list[tuple[int, int]]
) -> tuple[tuple[int, int], str] | None:
    """Return the window of a stage that is smaller than the window, as Swin shrinks it."""
    if stage is not None:
        window = (min(said[0], stage[0]), min(said[1], stage[1]))
        note = f"window {x(window)} where the stage's grid is smaller than {x(said)}"
        return (window, note) if window in options else None
    same_side = said[0] > said[1]
    inside = [w for w in options if w[0] <= said[0] and w[1] <= said[1]]
    fitting = [w for w in inside if (w[0] > w[1]) == same_side or w[0] == w[1]]
    if len(fitting) != 1:
        return None
    return (fitting[0], f"window {x(fitting[0])} taken for a stage smaller than {x(said)}")


def _shown_by_index(
    checkpoint: Checkpoint, table: BiasTable, options: list[tuple[int, int]]
) -> tuple[tuple[int, int], str] | None:
    """Tell 3×4 from 4×3 by the stored index, where it is exactly the one of either."""
    if table.index_key not in checkpoint or len(options) < 2:
        return None
    num_prefix = cls_tokens(table.rows)
    fitting = [w for w in options if _stored_index_is(checkpoint, table, w, num_prefix)]
    if len(fitting) != 1:
        return None
    return fitting[0], f"window {x(fitting[0])} shown by the stored index"


def index_note(checkpoint: Checkpoint, table: BiasTable, window: Window) -> tuple[str, ...]:
    """Return a note where a stored index is not the one of this window; it is never used."""
    if table.index_key not in checkpoint:
        return ()
    if _stored_index_is(checkpoint, table, window.grid_size, window.num_prefix):
        return ()
    return (
        f"{checkpoint.stored_key(table.index_key)} is not the index of a {x(window.grid_size)} "
        "window; it was recomputed, and the stored one not used",
    )


def _stored_index_is(
    checkpoint: Checkpoint, table: BiasTable, window: tuple[int, int], num_prefix: int
) -> bool:
    index, shape = offset_index(window, num_prefix), checkpoint.shape(table.index_key)
    if np.prod(shape) != index.size:
        return False
    return np.array_equal(checkpoint.tensor(table.index_key).reshape(index.shape), index)


def _does_not_fit(checkpoint: Checkpoint, table: BiasTable, options: list[tuple[int, int]]) -> str:
    said = checkpoint.hints.grid_size or (0, 0)
    needs = (2 * said[0] - 1) * (2 * said[1] - 1)
    fitting = ", ".join(map(x, options[:6]))
    return (
        f"{checkpoint.stored_key(table.key)} has {table.rows} rows; a {x(said)} window has "
        f"{needs}, or {needs + CLS_ROWS} with CLS. Windows that fit: {fitting}."
    )
