"""Fixed tables whose axes are the other way round than in the definition that they follow."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from pe_inspect.diagnosis.checks import on_file
from pe_inspect.diagnosis.held_tables import trunk_of, vector_tables
from pe_inspect.errors import AmbiguousCheckpoint
from pe_inspect.families.reading.sincos import Variant, two_dimensional
from pe_inspect.families.reading.tables import StoredTable
from pe_inspect.finding import Finding
from pe_inspect.loading.checkpoint import Checkpoint

__all__ = ["transposed"]


@on_file("transposed")
def transposed(checkpoint: Checkpoint) -> Iterator[Finding]:
    """Sines and cosines of a known layout, with rows and columns exchanged."""
    for table in vector_tables(checkpoint):
        found = _variants(checkpoint, table)
        if found is not None and not found[0].known and found[1].known:
            yield _turned(checkpoint.stored_key(table.key), *found)


def _variants(checkpoint: Checkpoint, table: StoredTable) -> tuple[Variant, Variant] | None:
    """Return the layout of a table, and that of its transpose; `None` where it has none."""
    try:
        where = table.layout(trunk_of(checkpoint))
    except AmbiguousCheckpoint:
        return None
    height, width = where.grid_size
    patches = table.read(trunk_of(checkpoint))[where.num_prefix_rows :]
    variant = two_dimensional(patches, where.grid_size)
    if variant is None:
        return None
    exchanged = patches.reshape(height, width, -1).swapaxes(0, 1).reshape(len(patches), -1)
    other = two_dimensional(exchanged, (width, height))
    return (variant, other) if other is not None else None


def _turned(key: str, variant: Variant, other: Variant) -> Finding:
    layout = replace(other, known="")
    return Finding(
        "transposed",
        key,
        f"{key} holds the sines and cosines of {other.known} with rows and columns exchanged: it "
        f"is {variant}; theirs is {layout}.",
        "A model that was trained with this very table is sound. One whose code computes the "
        "table anew gives every patch the position of its mirror image across the diagonal.",
        "Keep the stored table when loading; or exchange the axes: reshape the patch rows to "
        "(H, W, D), .transpose(0, 1), flatten.",
        {"axes": variant.axes, "expected_axes": other.axes, "as_in": other.known},
    )
