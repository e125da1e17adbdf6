"""What `evolution` found, in one sentence."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from pe_inspect.analysis.common.sentences import number_text, sentence
from pe_inspect.kinds.position_embedding import PositionEmbedding

__all__ = ["finding_of"]


def finding_of(
    pe: PositionEmbedding, quantity: str, epochs: Sequence[int], numbers: Mapping[str, float]
) -> str:
    """Word where the maps begin, where they end, and when they settle.

    Args:
        pe: the last snapshot.
        quantity: what the maps show.
        epochs: those of the snapshots.
        numbers: the summary.
    """
    span = f"Over {len(epochs)} snapshots, epochs {epochs[0]} to {epochs[-1]}, "
    near = _neighbours(numbers["neighbours_first"], numbers["neighbours_last"])
    words = [
        f"{span}the {quantity} of patches that share an edge goes {near}",
        _length(pe, numbers),
        _structure(numbers),
        _settled(numbers),
    ]
    return sentence(words)


def _neighbours(first: float, last: float) -> str:
    if math.isnan(first + last):
        return "through snapshots where it is undefined"
    return f"from {number_text(first)} to {number_text(last)}"


def _length(pe: PositionEmbedding, numbers: Mapping[str, float]) -> str:
    first, last = numbers["norm_first"], numbers["norm_last"]
    if math.isnan(first + last):
        return ""
    origin = "computed" if pe.scheme_kind.is_computed else "stored"
    what = f"the mean row norm of the {origin} table"
    if not pe.scheme_kind.has_row_vectors:
        what = f"the root mean square of the {origin} values"
    begin, end = (number_text(value, on_a_scale=False) for value in (first, last))
    return f"{what} goes from {begin} to {end}"


def _structure(numbers: Mapping[str, float]) -> str:
    """When structure is there, from layer to layer, and what became of the hierarchy."""
    words = []
    first, last = numbers["appears_first"], numbers["appears_last"]
    begin, end = (number_text(numbers[f"ssdc_l1_{when}"]) for when in ("first", "last"))
    if not math.isnan(first):
        by_layer = "" if first == last else f" in the earliest layer, {last:.0f} in the latest"
        words.append(
            f"the rank correlation of affinity with nearness (SSDC) goes from {begin} to {end}, "
            f"half of the way by epoch {first:.0f}{by_layer}"
        )
    before, after = numbers["hierarchy_first"], numbers["hierarchy_last"]
    if not math.isnan(before + after):
        ends = f"{number_text(before)} to {number_text(after)}"
        words.append(f"the hierarchy over layers {'' if words else 'goes '}from {ends}")
    return ", ".join(words)


def _settled(numbers: Mapping[str, float]) -> str:
    alike, when = numbers["structure_first_to_last"], numbers["settled_at"]
    if math.isnan(alike) or math.isnan(when):
        return ""
    start = f"the first maps correlate with the last at {number_text(alike)}"
    return f"{start}, and from epoch {when:.0f} on at 0.95 or more"
