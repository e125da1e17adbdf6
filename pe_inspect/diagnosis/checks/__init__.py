"""The doctor's checks of one embedding: a new check is one function in this folder.

    @checks.register("constant")
    def constant(pe: PositionEmbedding) -> Iterator[Finding]: ...

A check yields what it found and nothing else; a healthy table yields nothing. It draws a conclusion
only from numbers that it puts into the finding's evidence.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, TypeAlias

from pe_inspect.finding import Finding
from pe_inspect.kinds.position_embedding import PositionEmbedding
from pe_inspect.registry import Registry

__all__ = ["Check", "checks"]

Check: TypeAlias = Callable[[PositionEmbedding], Iterator[Finding]]

checks: Final[Registry[Check]] = Registry("check", "pe_inspect.diagnosis.checks")
