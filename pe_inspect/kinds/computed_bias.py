"""Kind `function` of a window: a bias that a network computes, (heads, tokens, tokens)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final

from pe_inspect.kinds.bias import BIAS, Bias
from pe_inspect.kinds.parts import Step, without_norms
from pe_inspect.kinds.scheme_kind import AffinityDefinition, HeldScheme, Kind

__all__ = ["COMPUTED_BIAS", "ComputedBias"]


@dataclass(frozen=True, repr=False)
class ComputedBias(Bias):
    """A bias that a small network computes from the offset, for a stated window: Swin v2's."""

    name: ClassVar[str] = "computed_bias"
    word: ClassVar[Kind] = "function"
    is_computed: ClassVar[bool] = True
    _affinity: ClassVar[AffinityDefinition] = AffinityDefinition(
        "computed bias",
        "b_ij, the number that the network computes for query patch i and key patch j from their "
        "offset alone, on the stated window: a bias on the attention logit, or the attention "
        "itself.",
        None,
    )

    @property
    def resampled_as(self) -> tuple[Kind, ...]:
        """What the network gave for one window can be treated as a stored bias."""
        return (self.word, BIAS.word)

    def steps(self, scheme: HeldScheme) -> tuple[Step, ...]:
        """As computed: no norm acts on it."""
        return without_norms(scheme.tables, "joined")


COMPUTED_BIAS: Final = ComputedBias()
