"""What tables a file holds, for the checks: each once, and none that cannot be read left out."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

from pe_inspect.errors import AmbiguousCheckpoint
from pe_inspect.families.reading.bias_tables import BiasTable, find_bias_tables
from pe_inspect.families.reading.tables import StoredTable, find_groups
from pe_inspect.families.reading.windows import Window, windows_for
from pe_inspect.families.trunk import Trunk
from pe_inspect.loading.checkpoint import Checkpoint

__all__ = ["bias_tables", "keys_of_tables", "trunk_of", "vector_tables", "window_of"]


@lru_cache(maxsize=2)
def trunk_of(checkpoint: Checkpoint) -> Trunk:
    """Return the one reading of a checkpoint that all checks share."""
    return Trunk(checkpoint)


def vector_tables(checkpoint: Checkpoint) -> list[StoredTable]:
    """Return the tables of vectors that are added to tokens; of one a block, all of them."""
    try:
        groups = find_groups(trunk_of(checkpoint))
    except AmbiguousCheckpoint:  # some are missing: extraction says which
        return []
    return [table for group in groups for table in group]


def bias_tables(checkpoint: Checkpoint) -> list[BiasTable]:
    """Return the tables of offsets, one that blocks share once."""
    return list({table.key: table for table in find_bias_tables(trunk_of(checkpoint))}.values())


def window_of(checkpoint: Checkpoint, table: BiasTable) -> Window:
    """Return the window of one table.

    Raises:
        AmbiguousCheckpoint: several windows fit and none is square, or none that was said fits.
    """
    return windows_for(trunk_of(checkpoint), (table,))[0]


def keys_of_tables(checkpoint: Checkpoint) -> Iterator[str]:
    """Yield the checkpoint's names of all tables, each once."""
    keys = [key for table in vector_tables(checkpoint) for key in table.keys]
    yield from dict.fromkeys([*keys, *(table.key for table in bias_tables(checkpoint))])
