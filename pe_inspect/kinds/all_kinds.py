"""All kinds, and which of them an embedding is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from pe_inspect.kinds.bias import BIAS
from pe_inspect.kinds.computed_bias import COMPUTED_BIAS
from pe_inspect.kinds.parts import LayerPE
from pe_inspect.kinds.phases import PHASES
from pe_inspect.kinds.relative import RELATIVE
from pe_inspect.kinds.response import RESPONSE
from pe_inspect.kinds.scheme_kind import SchemeKind
from pe_inspect.kinds.vectors import VECTORS

__all__ = [
    "BIAS",
    "COMPUTED_BIAS",
    "KINDS",
    "PHASES",
    "RELATIVE",
    "RESPONSE",
    "VECTORS",
    "SchemeKind",
    "kind_of",
]

KINDS: Final[tuple[SchemeKind, ...]] = (VECTORS, BIAS, PHASES, RELATIVE, RESPONSE, COMPUTED_BIAS)


def kind_of(word: str, tables: Sequence[LayerPE]) -> SchemeKind:
    """Return the kind that a public word means; the axes of the tables tell the two functions.

    Raises:
        ValueError: there is no such word.
    """
    known = list(dict.fromkeys(kind.word for kind in KINDS))
    if word not in known:
        raise ValueError(f"kind is {word!r}; expected one of {', '.join(known)}")
    found = [kind for kind in KINDS if kind.word == word]
    has_heads = bool(tables) and len(tables[0].shape) > 2
    return next((kind for kind in found if kind.has_heads == has_heads), found[0])
