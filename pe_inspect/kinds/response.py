"""Kind `function` of an input: what the scheme adds to the patches, (patches, channels)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final

from pe_inspect.kinds.scheme_kind import AffinityDefinition, Kind, SchemeKind

__all__ = ["RESPONSE", "Response"]


@dataclass(frozen=True, repr=False)
class Response(SchemeKind):
    """The effective embedding of a stated input: PEG / CPVT, Fourier features."""

    name: ClassVar[str] = "response"
    word: ClassVar[Kind] = "function"
    is_computed: ClassVar[bool] = True
    _affinity: ClassVar[AffinityDefinition] = AffinityDefinition(
        "cosine similarity",
        "cos(e_i, e_j), between the vectors that the scheme computes for two patches; of the "
        "stated input, where they depend on one.",
    )


RESPONSE: Final = Response()
