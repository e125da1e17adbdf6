"""A toy scheme: one table named `stripes`, (H, W, channels)."""

from __future__ import annotations

from pe_inspect.families import Family, families
from pe_inspect.kinds.position_embedding import LayerPE, PositionEmbedding


def read_stripes(trunk) -> tuple[PositionEmbedding, ...]:
    """Lay the places out row by row."""
    rows, columns, channels = trunk.shape("stripes")
    values = trunk.tensor("stripes").reshape(rows * columns, channels)
    table = LayerPE("input", values, (rows, columns))
    return (PositionEmbedding("stripes", "vectors", "input", (table,), keys=("stripes",)),)


families.register("stripes")(
    Family(
        name="stripes",
        looks_for="a table named `stripes`, (H, W, channels)",
        example="the toy of the tests",
        detect=lambda trunk: "stripes" in trunk,
        extract=read_stripes,
    )
)
