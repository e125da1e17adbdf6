"""What a comparison has to say beside its numbers."""

from __future__ import annotations

from collections.abc import Iterator

from pe_inspect.analysis.common.sentences import listed
from pe_inspect.analysis.compare.alignment import Alignment
from pe_inspect.analysis.compare.representations import has_vectors, what_is_compared
from pe_inspect.analysis.compare.side_by_side import SideBySide

__all__ = ["notes_on"]


def notes_on(side: SideBySide, aligned: Alignment) -> Iterator[str]:
    """Yield every omission and every difference in what is compared, in words."""
    yield from _on_quantities(side)
    yield from _on_rows(side)
    if aligned.num_left_out:
        total = side.grid_size[0] * side.grid_size[1]
        yield (
            f"CKA and Procrustes: {aligned.num_left_out} of {total} patches are left out, whose "
            "rows are not finite in one of the tables"
        )
    if aligned.step > 1:
        yield f"CKA and Procrustes of layers: one position of {aligned.step}, evenly spaced"


def _on_quantities(side: SideBySide) -> Iterator[str]:
    """Whose maps show something else than the others', and who is on another scale."""
    if len(set(side.quantities)) == 1:
        return
    shown = (
        f"{listed([a for a, b in zip(side.labels, side.quantities) if b == name])} the {name}"
        for name in dict.fromkeys(side.quantities)
    )
    yield f"the maps differ in what they show: {'; '.join(shown)}"
    others = [label for k, label in enumerate(side.labels) if k not in side.drawn]
    if others:
        yield (
            f"{listed(others)}: on no scale with the others, so that it is not drawn with them and "
            "no difference of maps is given; correlations and CKA do not depend on units"
        )


def _on_rows(side: SideBySide) -> Iterator[str]:
    """What stands for a patch where that is no vector, or not the same for all."""
    bare = [
        (label, result.pe)
        for label, result in zip(side.labels, side.results)
        if not has_vectors(result.pe)
    ]
    for meaning in dict.fromkeys(what_is_compared(pe) for _, pe in bare):
        names = [label for label, pe in bare if what_is_compared(pe) == meaning]
        yield f"CKA of {listed(names)}: of {meaning}; no Procrustes distance, since no vectors"
    stacked = {len(result.pe.tables) for result in side.results if has_vectors(result.pe)}
    if stacked - {1}:
        yield "several stored tables of one model stand side by side, as one wide table"
