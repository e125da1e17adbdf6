"""Snapshots of one run: whether they belong together, and how far their stored tables moved."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from pe_inspect.analysis.common.numbers import cosine_of, mean_of
from pe_inspect.analysis.common.sentences import count_text
from pe_inspect.arrays import Float
from pe_inspect.errors import UsageError
from pe_inspect.kinds.position_embedding import PositionEmbedding

__all__ = ["checked_history", "stored_changes"]


def checked_history(
    tables: Sequence[PositionEmbedding], epochs: Sequence[int] | None
) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """Return the epochs, and what is to be said of them.

    Raises:
        UsageError: fewer than two snapshots, not one epoch each, or not of one model.
    """
    if len(tables) < 2:
        raise UsageError(
            f"evolution was given {count_text(len(tables), 'snapshot')}; a history needs at least "
            "two. Give a run's folder, or a folder of its checkpoints."
        )
    for table in tables:
        _require_one_model(tables[0], table)
    if epochs is None:
        return tuple(range(len(tables))), ("no epochs were given: snapshots are counted from 0",)
    if len(epochs) != len(tables):
        raise UsageError(
            f"evolution was given {len(epochs)} epochs for {len(tables)} snapshots; "
            "give one for each."
        )
    return tuple(int(epoch) for epoch in epochs), ()


def _require_one_model(first: PositionEmbedding, other: PositionEmbedding) -> None:
    if not first.tables:
        raise UsageError(f"{first.source or 'the first snapshot'} has no position table to follow.")
    if _form(first) != _form(other):
        names = [pe.source or "a snapshot" for pe in (first, other)]
        raise UsageError(
            f"{names[0]} is {first.headline}, but {names[1]} is {other.headline}. "
            "Snapshots of one run have one form: give a folder of one run only."
        )


def _form(pe: PositionEmbedding) -> tuple[object, ...]:
    shapes = tuple((table.name, table.shape, table.grid_size) for table in pe.tables)
    return pe.family, pe.kind, pe.join, pe.layer_names, shapes


def stored_changes(tables: Sequence[PositionEmbedding]) -> Iterator[dict[str, float]]:
    """Yield `norm`, `cosine_to_last` and `change` of each snapshot's stored values."""
    last, previous = _values(tables[-1]), None
    for pe in tables:
        values = _values(pe)
        yield {
            "norm": _norm(pe),
            "cosine_to_last": cosine_of(values, last),
            "change": float("nan") if previous is None else _change(values, previous),
        }
        previous = values


def _values(pe: PositionEmbedding) -> Float[np.ndarray, " values"]:
    """All stored values in a row; those that are not finite are 0."""
    flat = np.concatenate([table.values.ravel() for table in pe.tables])
    return np.where(np.isfinite(flat), flat, np.float32(0))


def _norm(pe: PositionEmbedding) -> float:
    if not pe.scheme_kind.has_row_vectors:
        squares = np.square(_values(pe), dtype=np.float64)
        return float(np.sqrt(squares.mean()))
    rows = [np.linalg.norm(table.patches.astype(np.float64), axis=-1) for table in pe.tables]
    return mean_of(np.concatenate(rows))


def _change(values: np.ndarray, previous: np.ndarray) -> float:
    scale = float(np.linalg.norm(previous.astype(np.float64)))
    moved = float(np.linalg.norm(values.astype(np.float64) - previous))
    return moved / scale if scale > 0 else float("nan")
