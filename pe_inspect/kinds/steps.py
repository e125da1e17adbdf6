"""How each layer comes to its table, before anything is computed.

Three notions are kept apart, and every figure says which it shows:

- `joined`: the model itself computes these values before it adds them (LaPE's recurrence, and
  whatever is computed from the input or by a small network), or adds them to its attention logits
  (a bias).
- `proxy`: LN1_l(table), what LaPE's authors draw for models that add the table to the tokens. No
  layer sees exactly that: norm1 acts on the sum of content and position.
- `stored`: the table as the file holds it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from pe_inspect.kinds.parts import LayerNormParams, LayerPE

__all__ = ["Notion", "Step", "fitting", "without_norms"]

Notion = Literal["joined", "proxy", "stored"]


@dataclass(frozen=True, eq=False)
class Step:
    """How one layer comes to its table.

    Attributes:
        layer: the layer that receives it.
        table: the stored table that it starts from.
        notion: see the module's text.
        norm: what is applied, where anything is.
        continues: the norm acts on what the step before gave, not on `table`.
    """

    layer: str
    table: LayerPE
    notion: Notion = "stored"
    norm: LayerNormParams | None = None
    continues: bool = False

    @property
    def name(self) -> str:
        """The layer, and the part of it where it has several tables."""
        return f"{self.layer}.{self.table.part}" if self.table.part else self.layer


def without_norms(tables: Sequence[LayerPE], notion: Notion) -> tuple[Step, ...]:
    """Return one step a table, on which no norm acts."""
    return tuple(Step(table.layer, table, notion) for table in tables)


def fitting(norm: LayerNormParams | None, table: LayerPE) -> LayerNormParams | None:
    """Return the norm if it is as wide as the table: those of other stages never see it."""
    fits = norm is not None and norm.weight.size == table.shape[-1]
    return norm if fits else None
