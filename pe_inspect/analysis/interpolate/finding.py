"""What `interpolate` found, in one sentence."""

from __future__ import annotations

import math
from collections.abc import Mapping

from pe_inspect.analysis.common.sentences import number_text, percent_text, sentence
from pe_inspect.kinds.position_embedding import PositionEmbedding
from pe_inspect.resampling.native import Origin, possessive

__all__ = ["finding_of", "rule_words"]


def finding_of(
    pe: PositionEmbedding, way: str, numbers: Mapping[str, float], *, is_asked_anew: bool
) -> str:
    """Word what the chosen method keeps: length of rows, likeness of neighbours, the way back.

    Args:
        pe: the embedding as it was.
        way: from which grid to which, and by which rule.
        numbers: the summary.
        is_asked_anew: whether a network gives the values, not a resampler.
    """
    if pe.scheme_kind.holds_angles:
        alike = number_text(numbers["structure_correlation"])
        kept = f"the likeness of places correlates with the old one by {alike}"
        return sentence([f"Computed anew {way}, {kept}", _neighbours(numbers)])
    if is_asked_anew:
        return sentence([f"Asked anew {way}, the network's {_kept(pe, numbers)}", _alike(numbers)])
    kept = f"Resampled {way}, {_kept(pe, numbers)}"
    return sentence([kept, _neighbours(numbers), _way_back(pe, numbers)])


def rule_words(method: str, plain: str, origin: Origin) -> str:
    """Name the chosen method; of `native`, whose rule that is.

    Args:
        method: as it was asked for.
        plain: what it comes down to.
        origin: whose rule is the embedding's own.
    """
    if method == "native" and not origin.is_known:
        return origin.words(plain)
    if plain == origin.library:
        return f"{method}, which is {plain}"
    if method == "native":
        return f"native, which is {possessive(origin.library)} rule: {plain}"
    return method if plain == method else f"{method}: {plain}"


def _kept(pe: PositionEmbedding, numbers: Mapping[str, float]) -> str:
    ratio = numbers["norm_ratio"]
    what, size = ("biases", "size") if pe.is_pairwise else ("rows", "length")
    if math.isnan(ratio):
        return f"{what} have no {size} to compare"
    return f"{what} keep {percent_text(ratio)} of their mean {size}"


def _alike(numbers: Mapping[str, float]) -> str:
    alike = numbers["structure_correlation"]
    if math.isnan(alike):
        return ""
    return f"the maps correlate with the old ones by {number_text(alike)}"


def _neighbours(numbers: Mapping[str, float]) -> str:
    before, after = (numbers.get(f"neighbour_cosine_{when}") for when in ("before", "after"))
    if before is None or after is None or math.isnan(before + after):
        return ""
    return f"the cosine of neighbours goes from {number_text(before)} to {number_text(after)}"


def _way_back(pe: PositionEmbedding, numbers: Mapping[str, float]) -> str:
    places = (("error_border", "at the border"), ("error_interior", "inside"))
    if math.isnan(numbers["round_trip_error"]):
        return ""
    known = [(numbers[name], place) for name, place in places if not math.isnan(numbers[name])]
    where = ", ".join(f"{percent_text(error)} {place}" for error, place in known)
    what, unit = ("an offset's biases", "size") if pe.is_pairwise else ("a row", "length")
    lost = percent_text(numbers["round_trip_error"])
    whole = f"the way there and back moves {what} by {lost} of the mean {unit} on average"
    return f"{whole} ({where})" if where else whole
