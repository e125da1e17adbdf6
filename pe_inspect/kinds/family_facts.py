"""What holds of every embedding of a family, stated once by the family and carried along."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["Beginning", "FamilyFacts"]

Beginning = Literal["random", "rule", "form"]


@dataclass(frozen=True)
class FamilyFacts:
    """What later rooms need to know of a scheme, and cannot tell from its arrays.

    Attributes:
        sentence: what it is, without a full stop; empty where no family states it.
        source: the paper of a network whose values are computed; empty for others.
        begins: what its maps show before training: noise (`random`), the pattern that a rule
            gives (`rule`), or the one that the scheme's form gives to any numbers (`form`).
        computed_from: what its values are computed from, where they are.
        serves_any_grid: whether the stored offsets are those of any grid.
        added_between_layers: whether it is added to the tokens between layers.
        is_of_stages: whether its tables are those of a pyramid's stages, each on a grid of its own.
    """

    sentence: str = ""
    source: str = ""
    begins: Beginning = "form"
    computed_from: str = "the input"
    serves_any_grid: bool = False
    added_between_layers: bool = False
    is_of_stages: bool = False
