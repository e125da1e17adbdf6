"""All kinds: for tables that answer for every one of them."""

from __future__ import annotations

from typing import Final

from pe_inspect.kinds.bias import BIAS
from pe_inspect.kinds.computed_bias import COMPUTED_BIAS
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
]

KINDS: Final[tuple[SchemeKind, ...]] = (VECTORS, BIAS, PHASES, RELATIVE, RESPONSE, COMPUTED_BIAS)
