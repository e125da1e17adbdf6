"""What a similarity result has to say beside its maps."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import numpy as np

from pe_inspect.analysis.common.numbers import are_equal
from pe_inspect.analysis.similarity.layer_maps import SimilarityMaps
from pe_inspect.kinds.affinity import undefined_rows

__all__ = ["in_short", "notes_on", "num_undefined_raw"]

MANY: Final = 3  # layers in a row, from which on they are named as a range


def in_short(result: SimilarityMaps) -> str:
    """Return a result's `repr`: how many layers, which grid, which affinity."""
    layers, (rows, columns) = len(result.views), result.grid_size
    count = f"{layers} layer{'s' * (layers != 1)}"
    return f"SimilarityResult({count}, {rows}×{columns}, {result.affinity.name})"


def notes_on(result: SimilarityMaps) -> Iterator[str]:
    """Yield every correction and omission, in words."""
    kind, statistics = result.pe.scheme_kind, result.statistics
    yield from _notes_on_norms(result)
    yield from _folded(_notes_on_tables(result))
    yield from _folded(_notes_on_raw(result))
    yield from _folded(_notes_on_undefined(result))
    if len({view.num_heads for view in result.views}) > 1 and result.head is None:
        yield "The layers have different numbers of heads; saved arrays are filled up with NaN."
    if kind.is_pairwise and not kind.is_computed and not any(row.limit for row in statistics):
        yield "The bias is zero everywhere."


def num_undefined_raw(result: SimilarityMaps) -> int:
    """Return how many rows of the stored tables that `raw` shows have no cosine."""
    return sum(undefined_rows(table.patches) for table in result.raw_tables)


def _notes_on_norms(result: SimilarityMaps) -> Iterator[str]:
    shown = {step.layer: step for step in result.pe.steps if step.name in result.layer_names}
    if any(step.notion == "proxy" for step in shown.values()):
        yield (
            "LN1 of each layer on the stored table is a proxy: "
            "the model normalises the sum of content and position."
        )
    if result.ln_eps is not None and any(step.norm for step in shown.values()):
        yield f"ε = {result.ln_eps:g} in every norm, as asked for."
    if result.pe.scheme_kind.has_token_rows and not result.pe.scheme_join.in_attention:
        bare = [step.layer for step in shown.values() if step.norm is None]
        if bare:
            yield f"No norm fits the table in {', '.join(bare)}: it is shown without."


def _folded(notes: Iterable[tuple[str, str]]) -> Iterator[str]:
    """Yield each text once, ahead of it the names of all layers that it is true of."""
    layers: dict[str, list[str]] = {}
    for name, text in notes:
        layers.setdefault(text, []).append(name)
    for text, names in layers.items():
        yield f"{_listed(names)}: {text}"


def _listed(names: Sequence[str]) -> str:
    """Name layers one by one, or as a range where they are consecutive blocks."""
    first = re.fullmatch(r"blocks\.(\d+)", names[0])
    if first is None or len(names) < MANY:
        return ", ".join(names)
    start = int(first[1])
    is_range = list(names) == [f"blocks.{start + k}" for k in range(len(names))]
    return f"{names[0]}–{names[-1]}" if is_range else ", ".join(names)


def _notes_on_undefined(result: SimilarityMaps) -> Iterator[tuple[str, str]]:
    for view, row in zip(result.views, result.statistics):
        if row.num_undefined:
            text = (
                f"{row.num_undefined} of {view.num_patches} patches have a row of "
                "zeros or a value that is not finite; what is undefined is shown as missing."
            )
            yield view.name, text


def _notes_on_raw(result: SimilarityMaps) -> Iterator[tuple[str, str]]:
    for table in result.raw_tables:
        missing = undefined_rows(table.patches)
        if missing:
            text = (
                f"{missing} of {table.num_patches} rows of the stored table "
                f"{'is' if missing == 1 else 'are'} zero or not finite; what is undefined "
                "in its cosines is shown as missing."
            )
            yield table.name, text


def _notes_on_tables(result: SimilarityMaps) -> Iterator[tuple[str, str]]:
    for table in result.pe.tables if result.pe.scheme_kind.has_token_rows else ():
        patches = table.patches
        finite = np.isfinite(patches).all(axis=-1)
        if are_equal(patches) and patches[0].any():
            yield table.name, "all rows are equal, so the cosine is 1 everywhere."
        flat = int(np.count_nonzero((patches.max(axis=-1) == patches.min(axis=-1)) & finite))
        if flat and any(view.norm for view in result.views):
            text = f"{flat} of {len(patches)} rows have zero variance; after a LayerNorm they are"
            yield table.name, f"{text} its β."
