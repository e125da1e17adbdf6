"""Words for what a map looks like, each defined by numbers, with all thresholds in this file.

A word names the form of one layer's map, that of its mean over heads. The first of these that fits
is the word:

flat         all pairs of patches have nearly one affinity
noise        neither the offset nor a plane over the grid explains the map
tiled        the pattern comes back at a distance, along rows and along columns
ramp         the map of a patch is a slope over the whole grid
round spot   affinity falls with Euclidean distance, alike in all directions
stripes      rows alone, or columns alone, decide
plaid        rows and columns add, and affinity comes back at a distance on both
cross        rows and columns add, and affinity falls along both
mixed        none of these
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Final, NamedTuple

import numpy as np

from pe_inspect.analysis.common.sentences import listed, number_text
from pe_inspect.analysis.structure.map_indices import half_radius
from pe_inspect.analysis.structure.map_shape import MapShape, map_shape
from pe_inspect.analysis.structure.offset_profile import OffsetProfile
from pe_inspect.arrays import Float32

__all__ = ["DEFINITIONS", "MapWord", "in_words", "map_word", "word_of", "words_by_layer"]

FLAT: Final = 0.02  # the standard deviation over pairs, in cosines or logits
CHANCE: Final = 0.1  # of the variance, beyond what chance explains
RAMP: Final = 0.6  # of the profile: a plane over the offsets
NEARLY: Final = 0.9  # of what rows and columns explain together
MOST: Final = 0.75  # of the profile: the form is the whole of it, but for a quarter
ONE_AXIS: Final = 0.8  # of what the sum of rows and columns explains
BACK: Final = 1 / 3  # of the range: affinity that comes back at a distance
AGAIN: Final = 0.75  # of the way back to a patch's affinity with itself


class MapWord(NamedTuple):
    """What a map looks like.

    Attributes:
        word: one of `DEFINITIONS`.
        number: what goes with it: the half-radius of a round spot, in patches, the direction of
            stripes; empty where there is none.
    """

    word: str
    number: str = ""


def _is_tiled(shape: MapShape) -> bool:
    return shape.repeats >= AGAIN and min(shape.returns) >= BACK and shape.by_sum < MOST


def _is_ramp(shape: MapShape) -> bool:
    if shape.by_slope >= RAMP or shape.by_place >= max(shape.by_offset, RAMP):
        return True
    steps_are_alike = shape.by_steps >= NEARLY * shape.by_sum and shape.falls > 0
    return _is_of_one_axis(shape) and steps_are_alike and not _is_spot(shape)


def _is_spot(shape: MapShape) -> bool:
    is_of_distance = shape.by_ring >= max(MOST, NEARLY * shape.by_sum)
    return is_of_distance and shape.falls > 0 and not _comes_back(shape)


def _is_of_one_axis(shape: MapShape) -> bool:
    return max(shape.by_row, shape.by_column) >= ONE_AXIS * max(shape.by_sum, MOST)


def _is_sum(shape: MapShape) -> bool:
    """Whether rows and columns add, and one side of a patch is like the other."""
    return shape.by_sum >= MOST and shape.by_row + shape.by_column >= MOST * shape.by_sum


def _comes_back(shape: MapShape) -> bool:
    return min(shape.returns) >= BACK


_RULES: Final[dict[str, tuple[Callable[[MapShape], bool], str]]] = {
    "flat": (
        lambda shape: shape.deviation <= FLAT,
        f"the standard deviation over pairs of different patches is at most {FLAT:g}, in cosines "
        "or logits",
    ),
    "noise": (
        lambda shape: max(shape.by_offset, shape.by_place) < CHANCE,
        f"the offset explains less than {CHANCE:.0%} of the variance over pairs beyond chance, and "
        "so does a plane over the grid of each query",
    ),
    "tiled": (
        _is_tiled,
        f"the profile comes back {AGAIN:.0%} of the way at two rows and columns or more, and a sum "
        f"of functions of rows and of columns explains less than {MOST:.0%} of it",
    ),
    "ramp": (
        _is_ramp,
        f"a plane over the offsets explains {RAMP:.0%} of the profile, or one over the grid more "
        "of each query's map than its offsets do, or affinity falls along one axis by equal steps",
    ),
    "round spot": (
        _is_spot,
        f"a function of distance explains {MOST:.0%} of the profile, and {NEARLY:.0%} of what a "
        "sum of functions of rows and of columns explains; it falls",
    ),
    "stripes": (
        _is_of_one_axis,
        f"the rows between two patches, or the columns, explain {ONE_AXIS:.0%} of what both do",
    ),
    "plaid": (
        lambda shape: _is_sum(shape) and _comes_back(shape),
        f"a sum of functions of rows and of columns explains {MOST:.0%} of the profile, and both "
        "rise again by a third of their range",
    ),
    "cross": (
        lambda shape: _is_sum(shape) and shape.falls > 0,
        f"a sum of functions of rows and of columns explains {MOST:.0%} of the profile, and it "
        "falls with distance",
    ),
}
DEFINITIONS: Final = {name: said for name, (_, said) in _RULES.items()} | {
    "mixed": "none of the other words fits"
}
"""Each word, and when it is said."""


def word_of(shape: MapShape) -> str:
    """Return the first word whose rule fits."""
    return next((name for name, (fits, _) in _RULES.items() if fits(shape)), "mixed")


def map_word(
    values: Float32[np.ndarray, "patches patches"], profile: OffsetProfile
) -> MapWord | None:
    """Return what a map looks like, with its number; `None` on one row or column, or undefined.

    Args:
        values: the map, query by key; NaN where undefined.
        profile: the same by offset.
    """
    if profile.is_constant and min(profile.sides) > 1 and profile.largest == profile.largest:
        return MapWord("flat")
    shape = map_shape(values, profile)
    if shape is None:
        return None
    word = word_of(shape)
    if word == "stripes":
        return MapWord(word, "horizontal" if shape.by_row > shape.by_column else "vertical")
    if word == "round spot":
        radius = half_radius(profile.mean, profile.counts)
        return MapWord(word, number_text(radius, on_a_scale=False) if radius == radius else "")
    return MapWord(word)


def words_by_layer(words: Sequence[MapWord | None], layers: Sequence[str]) -> str:
    """Say which layers look like what: `plaid in blocks 0 and 4 to 6, a cross from block 7`.

    Args:
        words: of each layer; `None` where there is none.
        layers: their names, in the model's order.

    Returns:
        The words in the order in which they first appear; empty where no layer has one.
    """
    found: dict[str, list[tuple[int, str]]] = {}
    for place, word in enumerate(words):
        if word is not None:
            found.setdefault(word.word, []).append((place, word.number))
    said = (
        f"{_phrase(name, [number for _, number in layer])} "
        f"{_where([place for place, _ in layer], layers)}".rstrip()
        for name, layer in found.items()
    )
    return ", ".join(said)


def in_words(words: Sequence[MapWord | None], layers: Sequence[str]) -> str:
    """Say what the map of a patch is, layer by layer; empty where no layer has a word."""
    said = words_by_layer(words, layers)
    return f"the map of a patch is {said}" if said else ""


_PHRASES: Final = {
    "cross": "a cross",
    "ramp": "a ramp",
    "round spot": "a round spot",
    "mixed": "of no single form",
}


def _phrase(word: str, numbers: Sequence[str]) -> str:
    given = list(dict.fromkeys(number for number in numbers if number))
    if word == "stripes":
        return f"{' or '.join(given)} stripes"
    if word != "round spot" or not given:
        return _PHRASES.get(word, word)
    ends = dict.fromkeys((min(given, key=float), max(given, key=float)))
    return f"a round spot of half-radius {' to '.join(ends)} patches"


def _where(places: Sequence[int], layers: Sequence[str]) -> str:
    """`in blocks 0 and 4 to 6`, `from block 7`, `everywhere`; other layers by their names."""
    if len(layers) == 1:
        return ""
    if len(places) == len(layers):
        return "in every layer"
    numbers = [layers[k].removeprefix("blocks.") for k in places]
    if not all(number.isdigit() for number in numbers):
        return f"in {listed([layers[k] for k in places])}"
    counted = groupby(enumerate(places), key=lambda pair: pair[1] - pair[0])
    runs = [run for _, same in counted for run in _apart([place for _, place in same])]
    if places[-1] - places[0] == len(places) - 1 > 0 and places[-1] == len(layers) - 1:
        return f"from block {numbers[0]}"
    spans = [_span(run, layers) for run in runs]
    return f"in block{'s' * (len(places) > 1)} {listed(spans)}"


def _apart(run: Sequence[int]) -> list[Sequence[int]]:
    """A run of layers; two of them are named one by one."""
    return [run] if len(run) != 2 else [run[:1], run[1:]]


def _span(run: Sequence[int], layers: Sequence[str]) -> str:
    first, last = (layers[k].removeprefix("blocks.") for k in (run[0], run[-1]))
    return first if len(run) == 1 else f"{first} to {last}"
