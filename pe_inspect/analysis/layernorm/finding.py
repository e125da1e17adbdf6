"""What `layernorm` found, in one sentence."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

from pe_inspect.analysis.common.sentences import listed, number_text, sentence

__all__ = ["before_to_after", "commonest", "finding_of"]

NAMED: Final = 4


def finding_of(
    counts: Mapping[str, int], numbers: Mapping[str, float], cosines: Mapping[str, float]
) -> str:
    """Word the mean γ, how alike position norms are to norm1, and what norms do to the table.

    Args:
        counts: how many layers have each norm, in the model's order.
        numbers: the summary.
        cosines: position norm → the cosine of its γ to that of norm1.
    """
    gammas = [f"{number_text(numbers[f'{name}_weight_mean'])} in {name}"
              for name in commonest(counts)]  # fmt: skip
    gamma = f"Averaged over channels and layers, γ is {listed(gammas)}"
    return sentence([gamma, _beside_norm1(cosines), _effect(numbers)])


def commonest(counts: Mapping[str, int]) -> list[str]:
    """Return the names of the norms that most layers have, in the model's order."""
    often = sorted(counts, key=lambda name: -counts[name])
    return [name for name in counts if name in often[:NAMED]]


def before_to_after(numbers: Mapping[str, float], measure: str) -> str:
    """Word one measure of the table before and after its norms; nothing where it is undefined."""
    ends = [numbers.get(f"{measure}_{when}", math.nan) for when in ("before", "after")]
    if math.isnan(sum(ends)):
        return ""
    return f"from {number_text(ends[0])} to {number_text(ends[1])}"


def _beside_norm1(cosines: Mapping[str, float]) -> str:
    if not cosines:
        return ""
    alike = [number_text(cosine) for cosine in cosines.values()]
    return f"γ of {listed(list(cosines))} has a cosine of {listed(alike)} to norm1's"


def _effect(numbers: Mapping[str, float]) -> str:
    scale = before_to_after(numbers, "scale")
    near = before_to_after(numbers, "neighbour_cosine")
    what = [f"the table's scale {scale}"] if scale else []
    what += [f"the cosine of neighbours {near}"] if near else []
    return f"the norms bring {listed(what)}" if what else ""
