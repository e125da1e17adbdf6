"""A fixed table of sines and cosines of the patch's row and column.

Sources: arXiv:2111.06377 (MAE), arXiv:2104.02057 (MoCo v3), LaPE's `2D_sin`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pe_inspect.errors import AmbiguousCheckpoint
from pe_inspect.families import Family, families
from pe_inspect.families.reading.grid import Layout, factor_pairs, x
from pe_inspect.families.reading.vectors import (
    StoredVectors,
    is_sinusoidal,
    stored_vectors,
    vectors,
)
from pe_inspect.families.trunk import Trunk
from pe_inspect.kinds.parts import FamilyFacts
from pe_inspect.kinds.position_embedding import PositionEmbedding

if TYPE_CHECKING:
    from pe_inspect.families.reading.sincos import Variant

__all__ = ["detect", "extract"]

NAME: Final = "sinusoidal_2d"


def detect(trunk: Trunk) -> bool:
    """Whether the table's values are sines and cosines, and not those of a position count."""
    return any(map(_is_of_two_axes, stored_vectors(trunk)))


def _is_of_two_axes(stored: StoredVectors) -> bool:
    if not is_sinusoidal(stored.values[0]):
        return False
    from pe_inspect.families.reading.sincos import one_dimensional

    return one_dimensional(stored.values[0]) is None


def extract(trunk: Trunk) -> tuple[PositionEmbedding, ...]:
    """Read the table; its own values tell a grid that nothing else does."""
    return tuple(
        _fixed(trunk, stored) for stored in stored_vectors(trunk) if _is_of_two_axes(stored)
    )


def _fixed(trunk: Trunk, stored: StoredVectors) -> PositionEmbedding:
    where, variant = _layout(trunk, stored)
    notes = (_describe(stored, where, variant),)
    return vectors(trunk, stored, where, family=NAME, learned=False, notes=notes)


def _layout(trunk: Trunk, stored: StoredVectors) -> tuple[Layout, Variant | None]:
    """Divide the rows as for any table; where that is ambiguous, as the values define them."""
    from pe_inspect.families.reading.sincos import two_dimensional

    table, values = stored.tables[0], stored.values[0]
    try:
        where = table.layout(trunk)
    except AmbiguousCheckpoint:
        if found := _defined_layout(trunk, stored):
            return found
        raise
    variant = two_dimensional(values[where.num_prefix_rows :], where.grid_size)
    if variant is None and (found := _defined_layout(trunk, stored)):
        _refuse_contradiction(trunk, stored, where, found[0])
        return found
    return where, variant


def _defined_layout(trunk: Trunk, stored: StoredVectors) -> tuple[Layout, Variant] | None:
    from pe_inspect.families.reading.sincos import two_dimensional

    values, said = stored.values[0], trunk.hints.num_prefix_tokens
    for prefix in trunk.prefix_tokens.coverings(said):
        patches = values[prefix:]
        for a, b in factor_pairs(len(patches)):
            for grid in dict.fromkeys(((a, b), (b, a))):
                if variant := two_dimensional(patches, grid):
                    note = f"grid {x(grid)} read from the table's values"
                    return Layout(grid, prefix, (note,)), variant
    return None


def _refuse_contradiction(
    trunk: Trunk, stored: StoredVectors, said: Layout, defined: Layout
) -> None:
    if trunk.hints.grid_size is None:
        return
    raise AmbiguousCheckpoint(
        f"{trunk.stored_key(stored.tables[0].key)} holds the sines and cosines of a "
        f"{x(defined.grid_size)} grid with {defined.num_prefix_rows} prefix rows; --grid-size says "
        f"{x(said.grid_size)}. Leave --grid-size out."
    )


def _describe(stored: StoredVectors, where: Layout, variant: Variant | None) -> str:
    if variant is not None:
        return f"fixed 2-D sines and cosines, {variant}"
    from pe_inspect.families.reading.sincos import is_separable

    patches = stored.values[0][where.num_prefix_rows :]
    axes = "each channel along one axis" if is_separable(patches, where.grid_size) else "mixed axes"
    return f"sines and cosines of no layout that is known here ({axes}); taken for a fixed table"


families.register(NAME)(
    Family(
        name=NAME,
        looks_for="a table of vectors whose values are sines and cosines of row and column "
        "(every row's squared norm is D/2; CLS rows may be zero)",
        example="MAE's pre-trained ViTs, LaPE's pe=2D_sin, s-chh's sinusoidal",
        detect=detect,
        extract=extract,
        facts=FamilyFacts(
            native_scheme="sincos2d",
            sentence="A sinusoidal table over rows and columns",
            begins="rule",
        ),
    )
)
