"""What a comparison found, in one sentence."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, Protocol, runtime_checkable

from pe_inspect.analysis.common.sentences import number_text, sentence

if TYPE_CHECKING:
    from pe_inspect.analysis.compare.deltas import Delta
    from pe_inspect.analysis.compare.likeness import Likeness
    from pe_inspect.analysis.compare.side_by_side import SideBySide

__all__ = ["finding_of"]

UNDEFINED: Final = "No two of the embeddings have maps whose correlation is defined."
MOST_DELTAS: Final = 3


@runtime_checkable
class Compared(Protocol):
    """What a sentence about a comparison is made of."""

    @property
    def side(self) -> SideBySide:
        """The embeddings as they were matched."""

    @property
    def labels(self) -> tuple[str, ...]:
        """Their names."""

    @property
    def likenesses(self) -> tuple[Likeness, ...]:
        """How alike the maps of any two are."""

    @property
    def deltas(self) -> tuple[Delta, ...]:
        """What the others have more than the first."""

    def pair(self, first: int, second: int) -> dict[str, float]:
        """Return the numbers of two, by their places."""


def finding_of(found: Compared) -> str:
    """Word two embeddings by all that is known of them; of more, the most and the least alike."""
    known = [one for one in found.likenesses if not math.isnan(one.correlation)]
    if not known:
        return UNDEFINED
    if len(found.labels) == 2:
        return _of_two(found, known[0])
    ranked = sorted(known, key=lambda one: one.correlation)
    most, least = ranked[-1], ranked[0]
    first = f"Most alike: the maps of {_names(found, most)} {_maps(found, most)}"
    if most is least:
        return sentence([first])
    return sentence([first, f"least: {_names(found, least)}, at {number_text(least.correlation)}"])


def _of_two(found: Compared, one: Likeness) -> str:
    """The tables, the maps, and what changed from the first to the second."""
    start = f"{found.labels[1]} against {found.labels[0]}"
    parts = [_tables(found), f"the maps {_maps(found, one)}", _changes(found.deltas)]
    said = [part for part in parts if part]
    return sentence([f"{start}: {said[0]}", *said[1:]])


def _tables(found: Compared) -> str:
    numbers = found.pair(0, 1)
    if math.isnan(numbers["cka"]):
        return ""
    unbiased = numbers["cka_unbiased"]
    text = f"the stored tables have a CKA of {number_text(numbers['cka'])}"
    if not math.isnan(unbiased):
        text += f" (unbiased {number_text(unbiased)})"
    apart = numbers["procrustes"]
    rotated = f" and are {number_text(apart)} apart once rotated onto each other (of at most 1.41)"
    return text if math.isnan(apart) else text + rotated


def _maps(found: Compared, one: Likeness) -> str:
    text = f"correlate at {number_text(one.correlation)} on average over layers"
    if math.isnan(one.difference):
        return text
    bounded = found.side.scale[1] <= 1
    return f"{text} and differ by {number_text(one.difference, on_a_scale=bounded)}"


def _names(found: Compared, one: Likeness) -> str:
    return f"{found.labels[one.first]} and {found.labels[one.second]}"


def _changes(deltas: Sequence[Delta]) -> str:
    """The numbers that changed the most, each in parts of its own range."""
    told = sorted((one for one in deltas if one.is_told), key=lambda one: -abs(one.in_range))
    return ", ".join(one.words for one in told[:MOST_DELTAS])
