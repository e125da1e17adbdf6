"""A toy check: a table whose rows are all alike has stripes."""

from __future__ import annotations

from collections.abc import Iterator

from pe_inspect.diagnosis.checks import on_embedding
from pe_inspect.finding import Finding
from pe_inspect.kinds.position_embedding import PositionEmbedding


@on_embedding("striped")
def striped(pe: PositionEmbedding) -> Iterator[Finding]:
    """Report the toy scheme."""
    if pe.family == "stripes":
        yield Finding(
            code="striped",
            where="stripes",
            message="The table has stripes.",
            why="It is the toy of the tests.",
            mend="Take another.",
        )
