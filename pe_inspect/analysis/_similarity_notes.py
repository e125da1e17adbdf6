"""What a similarity result has to say beside its maps."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from pe_inspect.analysis._received import steps

if TYPE_CHECKING:
    from pe_inspect.analysis.similarity import SimilarityResult

__all__ = ["notes_on"]


def notes_on(result: SimilarityResult) -> Iterator[str]:
    """Yield every correction and omission, in words."""
    pe, statistics = result.pe, result.statistics
    yield from _notes_on_norms(result)
    yield from _notes_on_tables(result)
    for view, row in zip(result.views, statistics):
        if row.num_undefined:
            yield (
                f"{view.name}: {row.num_undefined} of {view.num_patches} patches have a row of "
                "zeros or a value that is not finite; what is undefined is shown as missing."
            )
    if len({view.num_heads for view in result.views}) > 1 and result.head is None:
        yield "The layers have different numbers of heads; saved arrays are filled up with NaN."
    if pe.kind == "bias" and not any(row.limit for row in statistics):
        yield "The bias is zero everywhere."


def _notes_on_norms(result: SimilarityResult) -> Iterator[str]:
    shown = {step.layer: step for step in steps(result.pe) if step.name in result.layer_names}
    if any(step.notion == "proxy" for step in shown.values()):
        yield (
            "LN1 of each layer on the stored table is a proxy: "
            "the model normalises the sum of content and position."
        )
    if result.ln_eps is not None and any(step.norm for step in shown.values()):
        yield f"ε = {result.ln_eps:g} in every norm, as asked for."
    if result.pe.kind == "vectors" and result.pe.join != "layer":
        bare = [step.layer for step in shown.values() if step.norm is None]
        if bare:
            yield f"No norm fits the table in {', '.join(bare)}: it is shown without."


def _notes_on_tables(result: SimilarityResult) -> Iterator[str]:
    for table in result.pe.layers if result.pe.kind == "vectors" else ():
        patches = table.patches
        if len(patches) > 1 and np.all(patches == patches[0]):
            yield f"{table.name}: all rows are equal, so the cosine is 1 everywhere."
        flat = int(np.count_nonzero(np.ptp(patches, axis=-1) == 0))
        if flat and any(view.norm for view in result.views):
            yield (
                f"{table.name}: {flat} of {len(patches)} rows have zero variance; "
                "after a LayerNorm they are its β."
            )
