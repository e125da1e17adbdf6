"""What the reader of a resampled embedding must know."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

import numpy as np

from pe_inspect.analysis.common.numbers import are_equal
from pe_inspect.analysis.interpolate.directions import evenly_spread
from pe_inspect.analysis.interpolate.resampled import ResampledTable
from pe_inspect.errors import UsageError
from pe_inspect.kinds.all_kinds import (
    BIAS,
    COMPUTED_BIAS,
    PHASES,
    RELATIVE,
    RESPONSE,
    VECTORS,
    SchemeKind,
)
from pe_inspect.kinds.layouts import grid_for, source_grid
from pe_inspect.kinds.position_embedding import PositionEmbedding
from pe_inspect.resampling.native import Origin
from pe_inspect.resampling.resampler import Resampler

__all__ = ["notes_on", "notes_on_values"]

_SQUARE_ONLY = ("dino", "dinov2", "dinov2-aa", "dinov2-reg", "hf", "hf-old", "mae", "deit", "beit",
                "clip", "open_clip", "torchvision", "swin", "levit")  # fmt: skip


def notes_on(
    pe: PositionEmbedding,
    size: tuple[int, int],
    resamplers: Mapping[str, Resampler],
    origin: Origin,
    skipped: Mapping[str, UsageError],
    *,
    asked_all: bool,
) -> Iterator[str]:
    """Yield what was chosen, what was left out, and what the kind of scheme implies."""
    if "native" in resamplers:
        yield f"native is {origin.sentence(resamplers['native'].name)}"
    for name, resampler in resamplers.items():
        if name not in ("native", resampler.name) and not asked_all:
            yield f"{name} resamples this embedding by {resampler.name}"
    for name, error in skipped.items():
        yield f"{name} was left out: {error}"
    if not asked_all:
        yield from _on_squares(pe, size, resamplers, origin)
    yield from _on_windows(pe, size)
    yield from _ON_KIND[pe.scheme_kind](pe)


def _on_squares(
    pe: PositionEmbedding,
    size: tuple[int, int],
    resamplers: Mapping[str, Resampler],
    origin: Origin,
) -> Iterator[str]:
    oblong = len(set(source_grid(pe))) > 1 or len(set(size)) > 1
    rules = [origin.library if name == "native" else name for name in resamplers]
    square = [name for name in dict.fromkeys(rules) if name in _SQUARE_ONLY]
    if oblong and square:
        yield (
            f"the code of {', '.join(square)} is written for square tables, or guesses the grid "
            "from the number of rows; here its rule is given the rows and columns as they are"
        )


def _on_windows(pe: PositionEmbedding, size: tuple[int, int]) -> Iterator[str]:
    grids = {table.grid_size: grid_for(pe, table, size) for table in pe.tables}
    smaller = {old: new for old, new in grids.items() if old != source_grid(pe)}
    windows = [old for old, new in smaller.items() if old == new and pe.scheme_kind.has_reach]
    stages = {old: new for old, new in smaller.items() if old not in windows}
    if windows:
        shown = ", ".join(f"{rows}×{columns}" for rows, columns in sorted(windows))
        yield f"windows of {shown} patches stay as they are: they do not grow with the image"
    if stages:
        shown = ", ".join(f"{a}×{b} to {c}×{d}" for (a, b), (c, d) in stages.items())
        yield f"the size is that of the largest table; the others keep their proportion: {shown}"


def _on_vectors(pe: PositionEmbedding) -> Iterator[str]:
    if pe.scheme_join.in_blocks and not pe.scheme_join.at_input:
        yield "the tables were resampled before the norms of the layers, as the model does"
    if pe.family.startswith("sinusoidal"):
        yield "a sinusoidal table can also be computed anew on the new grid; this is the stored one"
    yield from _on_many_queries(pe)
    for table in pe.tables:
        if are_equal(table.patches):
            yield f"{table.name}: all rows are equal, so there is no variation to resample"


def _on_many_queries(pe: PositionEmbedding) -> Iterator[str]:
    patches = max(table.num_patches for table in pe.tables)
    queries = len(evenly_spread(patches))
    if queries < patches:
        yield (
            f"correlations r of cosine maps are over {queries:,} of {patches:,} patches, evenly "
            "spread, each with all patches: that is off by about (1 − r²)/√"
            f"{queries:,} or less (its standard error, were each of them one observation)"
        )


def _on_bias(pe: PositionEmbedding) -> Iterator[str]:
    if pe.norms_named("attn.pe_norm"):
        yield (
            "the stored bias was resampled, not what its norm over the keys makes of it: that "
            "norm's γ and β have one entry a patch, and do not fit another grid"
        )
    yield from _on_heads(pe)


def _on_heads(pe: PositionEmbedding) -> Iterator[str]:
    if len({table.shape[0] for table in pe.tables}) > 1:
        yield "layers have different numbers of heads: missing heads are NaN in the saved values"


def _on_network(pe: PositionEmbedding) -> Iterator[str]:
    yield from _on_heads(pe)
    yield (
        "a network computes this bias for any window: cpb asks it anew, which is what the "
        "model does; other methods read between the values that it gave for the old window"
    )


def _on_angles(pe: PositionEmbedding) -> Iterator[str]:
    yield "angles are functions of the position: they were computed anew, not interpolated"
    yield from _on_many_queries(pe)


def _on_nothing(pe: PositionEmbedding) -> Iterator[str]:  # noqa: ARG001
    yield from ()


_ON_KIND: Final[Mapping[SchemeKind, Callable[[PositionEmbedding], Iterator[str]]]] = {
    VECTORS: _on_vectors,
    BIAS: _on_bias,
    PHASES: _on_angles,
    RELATIVE: _on_nothing,
    RESPONSE: _on_nothing,  # never resampled: it is computed from the input
    COMPUTED_BIAS: _on_network,
}


def notes_on_values(outcomes: Mapping[str, Sequence[ResampledTable]]) -> Iterator[str]:
    """Yield a note for every method whose tables have values that are NaN."""
    for name, tables in outcomes.items():
        if all(np.isfinite(table.before).all() for table in tables):
            continue
        missing = sum(int(np.isnan(table.after).sum()) for table in tables)
        if missing:
            yield f"{missing} values of {name} are NaN: they draw on values that are not finite"
