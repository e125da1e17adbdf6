"""No position at all: the tokens are a set."""

from __future__ import annotations

from pe_inspect.models.scheme import Scheme
from pe_inspect.models.schemes import schemes

__all__ = ["NoPosition"]


@schemes.register("none")
class NoPosition(Scheme):
    """Fills no slot."""
