"""Every way to read a number of rows as prefix rows and a grid, the likeliest first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal, get_args

from pe_inspect.diagnosis.held_tables import bias_tables, trunk_of, vector_tables, window_of
from pe_inspect.errors import AmbiguousCheckpoint
from pe_inspect.families.reading.bias import cls_tokens, windows_of
from pe_inspect.families.reading.bias_tables import BiasTable
from pe_inspect.families.reading.grid import Layout, factor_pairs, x
from pe_inspect.families.reading.tables import StoredTable
from pe_inspect.families.reading.tokens import PrefixTokens
from pe_inspect.kinds.position_embedding import PositionEmbedding
from pe_inspect.loading.checkpoint import Checkpoint

__all__ = ["Readings", "RowDivision", "alike", "as_read", "file_readings", "readings"]

MOST_PREFIX_ROWS: Final = 8  # no known model has more
NO_TOKENS: Final = PrefixTokens(known=False)

Standing = Literal["said", "ordinary", "own tokens", "square", "possible", "strip"]
_ORDINARY: Final = {"said", "ordinary", "own tokens"}
"""Readings with the model's own tokens."""
_WORDS: Final[dict[Standing, str]] = {
    "said": "as stated",
    "ordinary": "square, with the model's own prefix tokens",
    "own tokens": "with the model's own prefix tokens, not square",
    "square": "square",
    "possible": "possible",
    "strip": "a single row or column",
}


@dataclass(frozen=True)
class RowDivision:
    """One way to divide the rows of a table.

    Attributes:
        grid_size: (H, W).
        num_prefix_rows: rows ahead of the grid.
        standing: why it ranks where it does; the words in the order of their rank.
        num_suffix_rows: rows behind the grid, as YOLOS has for its detection tokens.
    """

    grid_size: tuple[int, int]
    num_prefix_rows: int
    standing: Standing
    num_suffix_rows: int = 0

    def __str__(self) -> str:
        behind = f" + {self.num_suffix_rows} behind" if self.num_suffix_rows else ""
        return f"{self.num_prefix_rows} prefix + {x(self.grid_size)}{behind}"

    def with_suffix(self, rows: int) -> RowDivision:
        """Return the reading of a table with so many rows behind the grid."""
        return replace(self, num_suffix_rows=rows)

    @property
    def because(self) -> str:
        """Why it ranks where it does, in words."""
        if self.standing == "own tokens" and not self.num_prefix_rows:
            return "no prefix rows, not square"
        return _WORDS[self.standing]


@dataclass(frozen=True)
class Readings:
    """All readings of one table.

    Attributes:
        key: the table's name in the file.
        rows: how many it has, those behind the grid included.
        all: every reading, the likeliest first.
        taken: the one that every command takes; `None` where none is taken unasked.
        table: the table itself, where it is one of vectors.
        said: why none is taken, in words.
        notes: what taking that one rests on.
        own: the prefix tokens that the file holds.
        is_window: whether the grid is a window within the image, as Swin's is.
    """

    key: str
    rows: int
    all: tuple[RowDivision, ...]
    taken: RowDivision | None
    table: StoredTable | None = None
    said: str = ""
    notes: tuple[str, ...] = ()
    own: PrefixTokens = NO_TOKENS
    is_window: bool = False

    @property
    def is_bias(self) -> bool:
        """Whether the rows are offsets between patches."""
        return self.table is None

    @property
    def is_ambiguous(self) -> bool:
        """Whether nothing ranks one reading above all others."""
        if self.taken is not None or not self.all:
            return False
        return sum(each.standing == self.all[0].standing for each in self.all) > 1

    @property
    def likeliest(self) -> tuple[RowDivision, ...]:
        """The reading that is taken; else all that nothing ranks under the first."""
        if self.taken is not None:
            return (self.taken,)
        return tuple(
            each
            for each in self.all
            if each.standing == self.all[0].standing
            and each.num_prefix_rows == self.all[0].num_prefix_rows
        )


def readings(
    rows: int,
    tokens: PrefixTokens = NO_TOKENS,
    *,
    grid_size: tuple[int, int] | None = None,
    num_prefix_tokens: int | None = None,
) -> tuple[RowDivision, ...]:
    """Return every reading of so many rows, the likeliest first; the order is total.

    Args:
        rows: of the table.
        tokens: the prefix tokens that the file holds.
        grid_size: (H, W) where something states it.
        num_prefix_tokens: where something states it.
    """
    own = tokens.coverings(num_prefix_tokens)
    most = max(MOST_PREFIX_ROWS, tokens.total, num_prefix_tokens or 0)
    found = [
        RowDivision(grid, prefix, _standing(grid, prefix, own, tokens, grid_size))
        for prefix in range(min(most, rows - 1) + 1)
        for grid in _grids(rows - prefix)
    ]
    return tuple(sorted(found, key=lambda reading: _rank(reading, own)))


def _grids(patches: int) -> Iterator[tuple[int, int]]:
    for a, b in factor_pairs(patches):
        yield from dict.fromkeys(((a, b), (b, a)))


def _standing(
    grid: tuple[int, int],
    prefix: int,
    own: tuple[int, ...],
    tokens: PrefixTokens,
    said: tuple[int, int] | None,
) -> Standing:
    if grid == said and (prefix in own or not tokens.known):
        return "said"
    if grid[0] == grid[1]:
        return "ordinary" if prefix in own else "square"
    if min(grid) == 1:
        return "strip"
    return "own tokens" if prefix in own and tokens.known else "possible"


def _rank(
    reading: RowDivision, own: tuple[int, ...]
) -> tuple[int, int, float, int, tuple[int, int]]:
    tall, wide = sorted(reading.grid_size)
    known = own.index(reading.num_prefix_rows) if reading.num_prefix_rows in own else len(own)
    place = get_args(Standing).index(reading.standing)
    return place, known, wide / tall, reading.num_prefix_rows, reading.grid_size


def file_readings(checkpoint: Checkpoint) -> tuple[Readings, ...]:
    """Return the readings of every table of a file, one entry a shape; shapes are read only."""
    return (*_of_vectors(checkpoint), *_of_biases(checkpoint))


def _of_vectors(checkpoint: Checkpoint) -> Iterator[Readings]:
    for table in _one_a_shape(vector_tables(checkpoint)):
        key = checkpoint.stored_key(table.key)
        try:
            where, said = table.layout(trunk_of(checkpoint)), ""
        except AmbiguousCheckpoint as error:
            where, said = None, str(error)
        found = _all_of(checkpoint, table)
        yield _taken_first(
            Readings(
                key,
                table.rows + table.trailing,
                found,
                None,
                table,
                said,
                own=trunk_of(checkpoint).prefix_tokens,
            ),
            where,
        )


def _one_a_shape(tables: list[StoredTable]) -> list[StoredTable]:
    return list({(table.shape, table.layer): table for table in reversed(tables)}.values())[::-1]


def _all_of(checkpoint: Checkpoint, table: StoredTable) -> tuple[RowDivision, ...]:
    if table.grid_size is not None:
        return (RowDivision(table.grid_size, 0, "said"),)
    hints = checkpoint.hints
    found = readings(
        table.rows,
        table.tokens or trunk_of(checkpoint).prefix_tokens,
        grid_size=hints.grid_size,
        num_prefix_tokens=hints.num_prefix_tokens,
    )
    return tuple(each.with_suffix(table.trailing) for each in found)


def _taken_first(found: Readings, where: Layout | None) -> Readings:
    if where is None:
        return found
    same = [
        each
        for each in found.all
        if (each.grid_size, each.num_prefix_rows) == (where.grid_size, where.num_prefix_rows)
    ]
    behind = found.table.trailing if found.table else 0
    stated = RowDivision(where.grid_size, where.num_prefix_rows, "said", behind)
    taken = same[0] if same else stated
    others = (each for each in found.all if each is not taken)
    return replace(found, all=(taken, *others), taken=taken, notes=where.notes)


def as_read(found: Sequence[Readings], tables: Sequence[PositionEmbedding]) -> tuple[Readings, ...]:
    """Mark of every table the reading with which it was read, which its values may have decided."""
    return tuple(_as_read(each, tables) for each in found)


def _as_read(found: Readings, tables: Sequence[PositionEmbedding]) -> Readings:
    own = [pe for pe in tables if found.key in pe.keys and pe.scheme_kind.has_token_rows]
    if len(own) != 1 or len(own[0].grid_size) != len(found.all[0].grid_size):
        return found
    where = Layout(own[0].grid_size, own[0].num_prefix_rows, found.notes)
    return _taken_first(found, where)


def _of_biases(checkpoint: Checkpoint) -> Iterator[Readings]:
    seen: set[int] = set()
    for table in bias_tables(checkpoint):
        if table.rows not in seen:
            seen.add(table.rows)
            yield _of_bias(checkpoint, table)


def _of_bias(checkpoint: Checkpoint, table: BiasTable) -> Readings:
    prefix, key = cls_tokens(table.rows), checkpoint.stored_key(table.key)
    windows = [table.window] if table.window is not None else windows_of(table.rows)
    found = tuple(
        RowDivision(grid, prefix, "ordinary" if grid[0] == grid[1] else "own tokens")
        for grid in windows
    )
    whole = Readings(key, table.rows, found, None, is_window=table.is_of_a_stage)
    try:
        window = window_of(checkpoint, table)
    except AmbiguousCheckpoint as error:
        return replace(whole, said=str(error))
    return _taken_first(whole, Layout(window.grid_size, window.num_prefix, window.notes))


def alike(mine: Readings, other: Readings) -> tuple[Readings, Readings]:
    """Read two tables of models with the same tokens alike: with as many prefix rows.

    One number of rows can be a square by chance; that both are read so is the better explanation.
    """
    if mine.is_bias or other.is_bias or mine.own != other.own or not (mine.taken and other.taken):
        return mine, other
    if mine.taken.num_prefix_rows == other.taken.num_prefix_rows:
        return mine, other
    shared = [
        (a, b)
        for a in mine.all
        for b in other.all
        if a.num_prefix_rows == b.num_prefix_rows and {a.standing, b.standing} <= _ORDINARY
    ]
    if not shared:
        return mine, other
    best = min(sum(map(_place, each)) for each in shared)
    pairs = [each for each in shared if sum(map(_place, each)) == best]
    return _only(mine, [a for a, _ in pairs]), _only(other, [b for _, b in pairs])


def _only(table: Readings, likeliest: Sequence[RowDivision]) -> Readings:
    """Take the likeliest reading, where it is one; of several as likely, none is taken."""
    first = tuple(dict.fromkeys(likeliest))
    others = tuple(each for each in table.all if each not in first)
    return replace(table, all=first + others, taken=first[0] if len(first) == 1 else None)


def _place(reading: RowDivision) -> int:
    return get_args(Standing).index(reading.standing)
