"""From the tables that act inside attention to position embeddings."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from math import isqrt, prod
from typing import Final

import numpy as np

from pe_inspect.arrays import Float32, Int
from pe_inspect.errors import AmbiguousCheckpoint
from pe_inspect.families.structure.bias_shapes import windows_of
from pe_inspect.families.structure.biases import BiasGroup, BiasTensor
from pe_inspect.families.structure.decided_tables import decided_tables
from pe_inspect.families.structure.grid_values import best_reading
from pe_inspect.families.structure.grids import written
from pe_inspect.families.structure.names import says_axis
from pe_inspect.families.structure.structure import Structure
from pe_inspect.families.structure.towers import extra_tokens
from pe_inspect.kinds.held_values import Lookup
from pe_inspect.kinds.parts import checked_grid
from pe_inspect.kinds.position_embedding import Kind, LayerPE, PositionEmbedding, Relation

__all__ = ["bias_embedding", "has_window", "offset_index"]

_CLS_ROWS: Final = 3
_BEHIND: Final = 2  # where the heads of (tokens, tokens, heads) lie

Window = tuple[int, ...]


@dataclass(frozen=True)
class _Placed:
    """The window of one table, how many prefix tokens it knows, and what tells so."""

    window: Window
    prefix: int
    why: str


def bias_embedding(structure: Structure, group: BiasGroup) -> PositionEmbedding:
    """Read a group of tables of one form.

    Raises:
        AmbiguousCheckpoint: nothing decides on a window, or a table is of no form known here.
    """
    if group.form == "axes":
        made = _embedding(
            structure, group, "decomposed_relative", "relative", _by_axis(structure, group)
        )
        return replace(made, relation=Relation("sum", "query-key"))
    placed = [_placed(structure, tensor) for tensor in group.tensors]
    if group.is_deep:
        placed = [_of_frames(where) for where in placed]
    names = _all_blocks(structure)
    one_each = len(group.tensors) == len(names) > 1 and not any(t.place for t in group.tensors)
    layers = [
        layer
        for at, (tensor, where) in enumerate(zip(group.tensors, placed))
        for layer in _layers(structure, tensor, where, names[at : at + 1] if one_each else names)
    ]
    family = "distance_bias" if group.form == "distances" else "relative_bias"
    notes = tuple(dict.fromkeys(where.why for where in placed))
    return _embedding(structure, group, family, "bias", layers, notes)


def _of_frames(where: _Placed) -> _Placed:
    """Return a flat window as one of a single frame."""
    return where if len(where.window) == 3 else replace(where, window=(1, *where.window))


def _embedding(
    structure: Structure,
    group: BiasGroup,
    family: str,
    kind: Kind,
    layers: list[LayerPE],
    notes: tuple[str, ...] = (),
) -> PositionEmbedding:
    said = structure.hints.num_prefix_tokens
    tower = structure.seen.tower_holding(group.tensors[0].named.path) or structure.main_tower
    tokens = extra_tokens(structure.seen, group.tensors[0].place, tower.width if tower else 0)
    return PositionEmbedding(
        family=family,
        kind=kind,
        join="layer",
        tables=tuple(layers),
        norms=structure.norms(tower),
        notes=(*notes, *structure.norm_notes),
        keys=structure.stored(dict.fromkeys(t.named.path for t in group.tensors)),
        num_prefix_tokens=tokens.prefix if said is None else said,
        depth=_depth(structure, group),
        num_parameters=sum(t.named.size for t in group.tensors),
    )


def _depth(structure: Structure, group: BiasGroup) -> int:
    """Return how many blocks hold a table; all of a tower where one lies outside them."""
    holding = {tensor.place for tensor in group.tensors if tensor.place}
    if holding:
        return len(holding)
    return structure.main_tower.depth if structure.main_tower else len(group.tensors)


def _layers(
    structure: Structure, tensor: BiasTensor, where: _Placed, outside: list[str]
) -> Iterator[LayerPE]:
    """Yield one table's layers: its block, or those that a table outside the blocks is for."""
    values, window = _by_head(structure, tensor), checked_grid(where.window)
    blocks = [_layer(structure, tensor)] if tensor.place else outside
    if tensor.form == "pairs":
        for block in blocks:
            yield LayerPE(block, values, window, where.prefix)
        return
    index = _index(tensor, where.window, where.prefix)
    for block in blocks:
        yield LayerPE.from_lookup(block, Lookup(values, index), window, where.prefix)


def _layer(structure: Structure, tensor: BiasTensor) -> str:
    tower = structure.seen.tower_holding(tensor.named.path)
    return structure.layers(tower).get(tensor.place, tensor.place)


def _all_blocks(structure: Structure) -> list[str]:
    """One table at the root is added in every block."""
    return list(structure.layers(structure.main_tower).values()) or ["blocks.0"]


def _by_head(structure: Structure, tensor: BiasTensor) -> Float32[np.ndarray, "heads ..."]:
    """Read a table, a row a head; of pairs, a matrix a head."""
    values = structure.trunk.float32(tensor.named.key)
    if tensor.at is not None:
        values = values[tensor.at]
    if tensor.form == "pairs":
        if tensor.head_axis == _BEHIND:
            values = np.moveaxis(values, -1, 0)
        return values.reshape(tensor.heads, tensor.rows, tensor.rows)
    if tensor.head_axis is None:
        return values.reshape(1, -1)
    squeezed = values.reshape([n for i, n in enumerate(values.shape) if n > 1 or _keeps(tensor, i)])
    if squeezed.ndim == 1:
        return squeezed.reshape(tensor.heads, -1)
    axis = tensor.head_axis if squeezed.ndim > tensor.head_axis else squeezed.ndim - 1
    return np.moveaxis(squeezed, axis, 0).reshape(tensor.heads, -1)


def _keeps(tensor: BiasTensor, axis: int) -> bool:
    """Whether an axis of length 1 is the one of the heads."""
    return tensor.heads == 1 and len(tensor.named.shape) == 2 and axis == tensor.head_axis


def _index(tensor: BiasTensor, window: Window, prefix: int) -> Int[np.ndarray, "tokens tokens"]:
    if tensor.form == "distances":
        return _distances(window)
    return offset_index(window, prefix)


@lru_cache(maxsize=8)
def offset_index(window: Window, num_prefix: int = 0) -> Int[np.ndarray, "tokens tokens"]:
    """Return which row of a table of offsets each (query, key) pair takes, for any axes.

    Args:
        window: (H, W) or (T, H, W); offsets are query − key, the last axis fastest.
        num_prefix: 1 where three more rows are those of a class token.
    """
    places = np.indices(window).reshape(len(window), -1)
    index = np.zeros((prod(window),) * 2, np.int32)
    for side, at in zip(window, places):
        index = index * (2 * side - 1) + (at[:, None] - at[None]) + side - 1
    if num_prefix:
        rows = prod(2 * side - 1 for side in window)
        index = np.pad(index, ((1, 0), (1, 0)))
        index[0, :], index[:, 0], index[0, 0] = rows, rows + 1, rows + 2
    index = index.astype(np.int32)
    index.flags.writeable = False
    return index


@lru_cache(maxsize=8)
def _distances(window: Window) -> Int[np.ndarray, "tokens tokens"]:
    places = np.indices(window).reshape(len(window), -1)
    index = np.zeros((prod(window),) * 2, np.int32)
    for side, at in zip(window, places):
        index = index * side + np.abs(at[:, None] - at[None])
    index = index.astype(np.int32)
    index.flags.writeable = False
    return index


def _placed(structure: Structure, tensor: BiasTensor) -> _Placed:
    options = _options(structure, tensor)
    said = structure.hints.grid_size
    name = structure.stored([tensor.named.path])[0]
    if said is not None and tuple(said) in options:
        why = f"window {written(said)} from {structure.hints.origin('grid_size')}"
        return _Placed(tuple(said), _prefix(tensor, said), why)
    if tensor.sides and tensor.form == "offsets":
        why = f"window {written(options[0])} shown by the shape of the bias table"
        return _Placed(options[0], 0, why)
    if len(options) > 1 and (shown := _by_index(structure, tensor, options)) is not None:
        why = f"window {written(shown)} shown by the stored index"
        return _Placed(shown, _prefix(tensor, shown), why)
    if tensor.tokens is not None and len(options) == 1:
        why = f"window {written(options[0])} of {tensor.tokens} tokens shown by the stored index"
        return _Placed(options[0], _prefix(tensor, options[0]), why)
    if (known := _known(structure, tensor, options)) is not None:
        return known
    square = [window for window in options if len(set(window)) == 1]
    by_values = None if square else _by_values(structure, tensor, options)
    chosen = square[0] if square else by_values or (options[0] if len(options) == 1 else None)
    if chosen is not None:
        who = "the values" if chosen == by_values else f"the {tensor.rows} rows"
        why = f"window {written(chosen)} inferred from {who} of the bias table"
        return _Placed(chosen, _prefix(tensor, chosen), why)
    listed = "; ".join(f"{written(w)} (--grid-size {'x'.join(map(str, w))})" for w in options[:40])
    raise AmbiguousCheckpoint(
        f"{name} has {tensor.rows} rows, and nothing in the file decides on the window. "
        f"{'Each of these fits: ' + listed if listed else 'No window has so many'}."
    )


def has_window(structure: Structure, tensor: BiasTensor) -> bool:
    """Whether any window has as many rows as a table."""
    return tensor.form == "axes" or bool(_options(structure, tensor))


def _options(structure: Structure, tensor: BiasTensor) -> list[Window]:
    if tensor.form == "offsets":
        if tensor.sides:
            return [tuple((side + 1) // 2 for side in tensor.sides)]
        return _windows(structure, tensor)
    rows = tensor.rows
    if tensor.form == "pairs":
        return [w for p in (0, 1) for w in (*_boxes(structure, rows - p), *_factors(rows - p))]
    return _factors(rows)


def _windows(structure: Structure, tensor: BiasTensor) -> list[Window]:
    """Windows of two sides, and of three where the file may be of three axes."""
    flat = [w for w in windows_of(tensor.rows, tensor.tokens) if min(w) > 1 or tensor.tokens]
    is_deep = structure.seen.is_deep
    deep = [w for w in windows_of(tensor.rows, tensor.tokens, axes=3) if min(w) > 1]
    if is_deep and deep:
        return list(dict.fromkeys([*deep, *flat]))
    return list(dict.fromkeys(flat)) or list(dict.fromkeys(deep))


def _factors(number: int) -> list[Window]:
    pairs = [(a, number // a) for a in range(isqrt(max(number, 1)), 1, -1) if number % a == 0]
    return [window for a, b in pairs for window in dict.fromkeys(((a, b), (b, a)))]


def _boxes(structure: Structure, number: int) -> list[Window]:
    """Windows of three sides, those of square frames first, where a kernel has three."""
    if not structure.seen.is_deep:
        return []
    deep = [
        (t, *pair) for t in range(2, number) if number % t == 0 for pair in _factors(number // t)
    ]
    return sorted(deep, key=lambda window: window[1] != window[2])


def _prefix(tensor: BiasTensor, window: Window) -> int:
    if tensor.form == "pairs":
        return _prefix_rows(tensor, window)
    if tensor.form == "distances":
        return 0
    if tensor.tokens == prod(window):
        return 0
    return int(tensor.rows == prod(2 * side - 1 for side in window) + _CLS_ROWS)


def _by_index(structure: Structure, tensor: BiasTensor, options: list[Window]) -> Window | None:
    """Return the window whose index is the stored one, where exactly one is."""
    if tensor.index is None or tensor.form not in ("offsets", "distances"):
        return None
    stored = structure.trunk.tensor(tensor.index.key)
    fitting = [w for w in options if _same(stored, _index(tensor, w, _prefix(tensor, w)))]
    return fitting[0] if len(fitting) == 1 else None


def _same(stored: np.ndarray, index: Int[np.ndarray, "tokens tokens"]) -> bool:
    if stored.size != index.size:
        return False
    flat = stored.reshape(index.shape)
    return bool(np.array_equal(flat, index) or np.array_equal(flat, index.T))


def _known(structure: Structure, tensor: BiasTensor, options: list[Window]) -> _Placed | None:
    """Return the grid of a table of the file, where a bias of as many tokens fits it."""
    if tensor.form != "pairs" or len(options) < 2:
        return None
    grids = [each.reading.grid for each in decided_tables(structure) if each.reading]
    grid = next((grid for grid in grids if grid in options), None)
    if grid is None:
        return None
    return _Placed(grid, _prefix(tensor, grid), f"window {written(grid)} as the position table's")


def _by_values(structure: Structure, tensor: BiasTensor, options: list[Window]) -> Window | None:
    """Return the window over which neighbours are alike, where one stands out."""
    if len(options) < 2 or tensor.rows > 10_000:
        return None
    values = _by_head(structure, tensor)
    rows = np.moveaxis(values, 1, 0).reshape(values.shape[1], -1)
    sides = [tuple(2 * s - 1 for s in w) if tensor.form == "offsets" else w for w in options]
    found = best_reading(rows, [(own, _prefix_rows(tensor, own)) for own in sides])
    return None if found is None else options[found]


def _prefix_rows(tensor: BiasTensor, window: Window) -> int:
    return tensor.rows - prod(window) if tensor.form == "pairs" else 0


def _by_axis(structure: Structure, group: BiasGroup) -> list[LayerPE]:
    """Read tables of vectors, 2S−1 offsets an axis; rows and columns of one place together."""
    layers = []
    places = dict.fromkeys(tensor.place for tensor in group.tensors)
    for own in ([t for t in group.tensors if t.place == place] for place in places):
        axes = {says_axis(t.named.path) or "": t for t in own}
        if set(axes) not in ({"y", "x"}, {"t", "y", "x"}):
            named = ", ".join(structure.stored(t.named.path for t in own))
            raise AmbiguousCheckpoint(f"{named}: vectors of one axis without those of the other")
        ordered = [axis for axis in "tyx" if axis in axes]
        grid = checked_grid(tuple((axes[axis].rows + 1) // 2 for axis in ordered))
        layers += [
            LayerPE(_layer(structure, axes[a]), _vectors(structure, axes[a]), grid, part=a)
            for a in ordered
        ]
    return layers


def _vectors(structure: Structure, tensor: BiasTensor) -> Float32[np.ndarray, "offsets dim"]:
    values = structure.trunk.float32(tensor.named.key).reshape(tensor.named.squeezed)
    return np.ascontiguousarray(np.moveaxis(values, tensor.head_axis or 0, 0))
