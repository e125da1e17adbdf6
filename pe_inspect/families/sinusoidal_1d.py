"""A fixed table of sines and cosines over one axis of positions.

Source: arXiv:1706.03762, section 3.5; as LaPE's `1D_sin` stores it, in two axes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pe_inspect.families import Family, families
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

NAME: Final = "sinusoidal_1d"


def detect(trunk: Trunk) -> bool:
    """Whether the table's values are those of a position count."""
    return any(_counted(stored) for stored in stored_vectors(trunk))


def _counted(stored: StoredVectors) -> Variant | None:
    """Return the layout of a table over one axis of positions."""
    if not is_sinusoidal(stored.values[0]):
        return None
    from pe_inspect.families.reading.sincos import one_dimensional

    return one_dimensional(stored.values[0])


def extract(trunk: Trunk) -> tuple[PositionEmbedding, ...]:
    """Read the table; its rows count through the grid, row by row."""
    found = []
    for stored in stored_vectors(trunk):
        if variant := _counted(stored):
            where = stored.tables[0].layout(trunk)
            notes = (f"fixed 1-D sines and cosines, {variant}",)
            found.append(vectors(trunk, stored, where, family=NAME, learned=False, notes=notes))
    return tuple(found)


families.register(NAME)(
    Family(
        name=NAME,
        looks_for="a table of vectors whose values are sines and cosines of the row number "
        "(every row's squared norm is D/2)",
        example="LaPE's pe=1D_sin",
        detect=detect,
        extract=extract,
        facts=FamilyFacts(
            native_scheme="sincos1d",
            sentence="A sinusoidal table over the patch index",
            begins="rule",
        ),
    )
)
