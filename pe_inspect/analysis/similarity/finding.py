"""What `similarity` found, in one sentence."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from pe_inspect.analysis.common.map_statistics import LayerStatistics
from pe_inspect.analysis.common.sentences import number_text, sentence
from pe_inspect.analysis.structure.words import MapWord, in_words
from pe_inspect.kinds.scheme_kind import AffinityDefinition

__all__ = ["finding_of"]


def finding_of(
    affinity: AffinityDefinition,
    numbers: Mapping[str, float],
    statistics: Sequence[LayerStatistics],
    layers: Sequence[str],
    words: Sequence[MapWord | None],
) -> str:
    """Word near patches against far ones, the first layer against the last, and what maps are like.

    Args:
        affinity: what the maps show.
        numbers: the summary.
        statistics: those of each layer's map.
        layers: a name each.
        words: what each layer's map looks like.
    """
    if math.isnan(numbers["mean"]):
        return f"No two patches have a defined {affinity.name}."
    parts = [
        _by_distance(affinity, numbers),
        _by_layer(affinity, statistics, layers),
        in_words(words, layers),
        _between_layers(numbers),
    ]
    return sentence(parts)


def _by_distance(affinity: AffinityDefinition, numbers: Mapping[str, float]) -> str:
    """Word near against far, as far as the grid has both."""
    near, far, name = numbers["neighbours"], numbers["far"], affinity.name
    if math.isnan(near):
        return f"The {name} of two patches is {_value(affinity, numbers['mean'])} on average"
    beyond = f", of those at least half the grid apart {_value(affinity, far)}"
    close = f"The {name} of patches that share an edge is {_value(affinity, near)} on average"
    return close if math.isnan(far) else close + beyond


def _by_layer(
    affinity: AffinityDefinition, statistics: Sequence[LayerStatistics], layers: Sequence[str]
) -> str:
    first, last = statistics[0], statistics[-1]
    if len(layers) == 1 or math.isnan(first.neighbours + last.neighbours):
        return ""
    return (
        f"from {layers[0]} to {layers[-1]} the former goes "
        f"from {_value(affinity, first.neighbours)} to {_value(affinity, last.neighbours)}"
    )


def _value(affinity: AffinityDefinition, value: float) -> str:
    return number_text(value, on_a_scale=affinity.limit is not None)


def _between_layers(numbers: Mapping[str, float]) -> str:
    correlation = numbers["correlation_to_previous"]
    if math.isnan(correlation):
        return ""
    return f"the maps of consecutive layers correlate at {number_text(correlation)}"
