"""Which window a table of offsets belongs to: as said, as the file shows, else a square one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import isqrt

import numpy as np

from pe_inspect.arrays import Int
from pe_inspect.errors import AmbiguousCheckpoint, UndecidedGrid
from pe_inspect.families.reading.bias import cls_tokens, offset_index, windows_of
from pe_inspect.families.reading.bias_tables import CLS_ROWS, TABLE, BiasTable
from pe_inspect.families.reading.grid import image_grid, stated_by_image, x
from pe_inspect.families.reading.names import in_order
from pe_inspect.families.reading.norms import BIAS_NORM
from pe_inspect.families.trunk import Trunk

__all__ = ["Window", "index_notes", "windows_for"]


@dataclass(frozen=True)
class Window:
    """The window of a table.

    Attributes:
        grid_size: (H, W).
        num_prefix: 1 where the table has rows for CLS.
        notes: what was inferred.
        was_said: whether a hint named it, or the larger window that this stage is known to shrink.
        is_sequence: whether offsets are differences of patch numbers, row by row of the grid.
    """

    grid_size: tuple[int, int]
    num_prefix: int
    notes: tuple[str, ...] = ()
    was_said: bool = False
    is_sequence: bool = False

    @property
    def index(self) -> Int[np.ndarray, "tokens tokens"]:
        """Which row of the table each (query, key) pair takes."""
        strip = (1, self.grid_size[0] * self.grid_size[1])
        return offset_index(strip if self.is_sequence else self.grid_size, self.num_prefix)


def windows_for(trunk: Trunk, tables: tuple[BiasTable, ...]) -> list[Window]:
    """Return the window of each table; what was said must fit one of a pyramid's stages.

    Raises:
        AmbiguousCheckpoint: several windows fit and none is square, or none that was said fits.
    """
    once = {table.key: table for table in tables}
    known = {key: _window_of(trunk, table) for key, table in once.items()}
    windows = [known[table.key] for table in tables]
    said = trunk.hints.grid_size
    fits = any(w.grid_size == said for w in windows) or all(w.was_said for w in windows)
    if trunk.hints.is_flag("grid_size") and not fits:
        raise AmbiguousCheckpoint(_does_not_fit(trunk, tables[0]))
    return windows


def _window_of(trunk: Trunk, table: BiasTable) -> Window:
    if table.window is not None:
        note = f"window {x(table.window)} shown by the shape of the bias table"
        return Window(table.window, 0, (note,), table.window == trunk.hints.grid_size)
    if (sequence := _sequence(trunk, table)) is not None:
        return sequence
    num_prefix = cls_tokens(table.rows)
    options = _options(trunk, table)
    told = _said(trunk, table, options)
    if told is not None:
        is_exact = told[0] == trunk.hints.grid_size or image_grid(trunk) is not None
        return Window(told[0], num_prefix, (told[1],), was_said=is_exact)
    told = _shown(trunk, table, options)
    if told is not None:
        return Window(told[0], num_prefix, (told[1],))
    if len(options) == 1 or options[0][0] == options[0][1]:
        note = f"window {x(options[0])} inferred from the {table.rows} rows of the bias table"
        return Window(options[0], num_prefix, (note,))
    raise UndecidedGrid(
        f"{trunk.stored_key(table.key)} has {table.rows} rows: a window of "
        f"{' or '.join(map(x, options[:6]))}. Each is chosen by --grid-size {_typed(options[:6])}, "
        "the one that the model was built with."
    )


def _typed(windows: Sequence[tuple[int, int]]) -> str:
    return " or ".join("x".join(map(str, window)) for window in windows)


def _sequence(trunk: Trunk, table: BiasTable) -> Window | None:
    """Return the grid of a table over 2·H·W − 1 differences of patch numbers, where it is said."""
    for hint, grid in (
        ("grid_size", trunk.hints.grid_size),
        ("img_size", image_grid(trunk)),
    ):
        if grid is None or min(grid) == 1 or table.is_of_a_stage:
            continue
        if table.rows == 2 * grid[0] * grid[1] - 1:
            note = (
                f"{table.rows} offsets of one axis, patches numbered row by row of a {x(grid)} "
                f"grid ({trunk.hints.origin(hint)})"
            )
            return Window(grid, 0, (note,), was_said=True, is_sequence=True)
    return None


def _options(trunk: Trunk, table: BiasTable) -> list[tuple[int, int]]:
    """Return the windows that a table may be of."""
    if table.window is not None:
        return [table.window]
    return windows_of(table.rows, _tokens(trunk, table)) or windows_of(table.rows)


def _tokens(trunk: Trunk, table: BiasTable) -> int | None:
    """Return a window's tokens where the width of LaPE's norm or a stored index tells them.

    Raises:
        AmbiguousCheckpoint: the norm over the keys has a width that no window of the table has.
    """
    norm = table.key.removesuffix(TABLE) + BIAS_NORM.removeprefix("attn.") + ".weight"
    if norm in trunk and trunk.shape(norm):
        width = trunk.shape(norm)[0]
        if not windows_of(table.rows, width):
            raise AmbiguousCheckpoint(
                f"{norm} has {width} features, and no window of {table.rows} rows has so many "
                "patches. The file mixes two models."
            )
        return width
    if table.index_key not in trunk:
        return None
    shape = trunk.shape(table.index_key)
    return shape[0] if len(shape) == 2 else isqrt(shape[0])


def _said(
    trunk: Trunk, table: BiasTable, options: list[tuple[int, int]]
) -> tuple[tuple[int, int], str] | None:
    """Return (window, note) where a hint names a window, or the larger one of a smaller stage."""
    said = trunk.hints.grid_size
    if said is None:
        return None
    if said in options:
        return said, f"window {x(said)} from {trunk.hints.origin('grid_size')}"
    if not table.is_of_a_stage:
        return None
    return _shrunk(said, _halved(image_grid(trunk), in_order(table.layer)[0]), options)


def _shown(
    trunk: Trunk, table: BiasTable, options: list[tuple[int, int]]
) -> tuple[tuple[int, int], str] | None:
    """Return (window, note) where the image size tells the window, or the stored index does."""
    stated = None if table.is_of_a_stage else stated_by_image(trunk)
    if stated is not None and stated.grid_size in options:
        who = trunk.hints.origin("img_size")
        return stated.grid_size, f"grid {x(stated.grid_size)} from img_size and patch size ({who})"
    if stated is not None and stated.is_config:
        raise AmbiguousCheckpoint(
            f"{stated.who} gives a {x(stated.grid_size)} grid, and "
            f"{trunk.stored_key(table.key)} has {table.rows} rows, those of "
            f"{' or '.join(map(x, options[:6]))}: the config and the weights are of two models, "
            "or of two image sizes. To go by the weights, pass --grid-size "
            f"{'x'.join(map(str, options[0]))}."
        )
    return _shown_by_index(trunk, table, options)


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
    alike = [w for w in options if w[0] * said[1] == w[1] * said[0]]
    if alike:
        return alike[0], f"window {x(alike[0])}, as {x(said)} in its proportions"
    same_side = said[0] > said[1]
    inside = [w for w in options if w[0] <= said[0] and w[1] <= said[1]]
    fitting = [w for w in inside if (w[0] > w[1]) == same_side or w[0] == w[1]]
    if len(fitting) != 1:
        return None
    return (fitting[0], f"window {x(fitting[0])} taken for a stage smaller than {x(said)}")


def _shown_by_index(
    trunk: Trunk, table: BiasTable, options: list[tuple[int, int]]
) -> tuple[tuple[int, int], str] | None:
    """Tell 3×4 from 4×3 by the stored index, where it is exactly the one of either."""
    if table.index_key not in trunk or len(options) < 2:
        return None
    num_prefix = cls_tokens(table.rows)
    fitting = [w for w in options if _stored_index_is(trunk, table, w, num_prefix)]
    if len(fitting) != 1:
        return None
    return fitting[0], f"window {x(fitting[0])} shown by the stored index"


def index_notes(trunk: Trunk, found: Iterable[tuple[BiasTable, Window]]) -> tuple[str, ...]:
    """Return a note a window whose stored indices are not the ones of it; they are never used."""
    other: dict[tuple[int, int], list[str]] = {}
    for table, window in found:
        key, grid_size = table.index_key, window.grid_size
        if key in trunk and not _stored_index_is(trunk, table, grid_size, window.num_prefix):
            other.setdefault(grid_size, []).append(trunk.stored_key(key))
    return tuple(_index_note(keys, grid_size) for grid_size, keys in other.items())


def _index_note(keys: list[str], grid_size: tuple[int, int]) -> str:
    more = len(keys) - 1
    if not more:
        return (
            f"{keys[0]} is not the index of a {x(grid_size)} window; it was recomputed, "
            "and the stored one not used"
        )
    return (
        f"{keys[0]} and {more} other{'s' * (more > 1)} are not the index of a {x(grid_size)} "
        "window; they were recomputed, and the stored ones not used"
    )


def _stored_index_is(
    trunk: Trunk, table: BiasTable, window: tuple[int, int], num_prefix: int
) -> bool:
    index, shape = offset_index(window, num_prefix), trunk.shape(table.index_key)
    if np.prod(shape) != index.size:
        return False
    return np.array_equal(trunk.tensor(table.index_key).reshape(index.shape), index)


def _does_not_fit(trunk: Trunk, table: BiasTable) -> str:
    said = trunk.hints.grid_size or (0, 0)
    needs = (2 * said[0] - 1) * (2 * said[1] - 1)
    fitting = ", ".join(map(x, _options(trunk, table)[:6]))
    return (
        f"{trunk.stored_key(table.key)} has {table.rows} rows; a {x(said)} window has "
        f"{needs}, or {needs + CLS_ROWS} with CLS. Windows that fit: {fitting}."
    )
