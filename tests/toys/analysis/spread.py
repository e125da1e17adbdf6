"""A toy question: how far apart are the largest and the smallest number of each table?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from pe_inspect.analysis import questions
from pe_inspect.kinds.position_embedding import PositionEmbedding


@dataclass(frozen=True)
class SpreadResult:
    """Largest minus smallest number, a table each."""

    question: ClassVar[str] = "spread"
    embedding: PositionEmbedding
    spreads: tuple[float, ...]
    notes: tuple[str, ...] = ()

    @property
    def parameters(self) -> dict[str, Any]:
        """Nothing is chosen."""
        return {}

    @property
    def finding(self) -> str:
        """The widest of them."""
        return f"The numbers lie within {max(self.spreads):g}."

    def summary(self) -> dict[str, float]:
        """The widest of them."""
        return {"widest": max(self.spreads)}

    def to_frame(self) -> Any:
        """One row a table."""
        import pandas as pd

        return pd.DataFrame({"spread": self.spreads})


@questions.register("spread")
def spread(pe: PositionEmbedding) -> SpreadResult:
    """Measure every table."""
    return SpreadResult(pe, tuple(float(t.values.max() - t.values.min()) for t in pe.tables))
