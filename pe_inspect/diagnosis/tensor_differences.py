"""Every tensor of one file against those of another, as `load_state_dict(strict=True)` does."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Final, TypeAlias

from pe_inspect.loading.checkpoint import Checkpoint

__all__ = ["TensorDifferences", "by_pattern", "pattern_of", "tensor_differences"]

Shape: TypeAlias = tuple[int, ...]
FEWEST_OF_A_WIDTH: Final = 3  # norms and biases that must agree on what a width became


@dataclass(frozen=True)
class TensorDifferences:
    """What keeps one state dict out of the model of another; names without wrappers.

    Attributes:
        shared: the names that both have with one shape.
        reshaped: the names that both have with different shapes: (here, there).
        missing: the shapes of names that only the other has.
        extra: the shapes of names that only this one has.
    """

    shared: frozenset[str]
    reshaped: Mapping[str, tuple[Shape, Shape]]
    missing: Mapping[str, Shape]
    extra: Mapping[str, Shape]

    @property
    def none(self) -> bool:
        """Whether every tensor fits."""
        return not (self.reshaped or self.missing or self.extra)

    @property
    def unrelated(self) -> bool:
        """Whether the two have no name in common."""
        return not self.shared and not self.reshaped

    @cached_property
    def width(self) -> tuple[int, int] | None:
        """What the width became, (here, there), as most norms and biases that differ have it."""
        pairs = Counter(
            (a[0], b[0]) for a, b in self.reshaped.values() if len(a) == 1 and len(b) == 1
        )
        (pair, count), *_ = pairs.most_common(1) or [((0, 0), 0)]
        return pair if count >= FEWEST_OF_A_WIDTH else None

    def of_width(self) -> set[str]:
        """Return the names whose shapes differ as the width does, by its ratio along every axis."""
        if self.width is None:
            return set()
        here, there = self.width
        return {
            name
            for name, (a, b) in self.reshaped.items()
            if len(a) == len(b)
            and all(m == n or m * there == n * here for m, n in zip(a, b, strict=True))
        }

    def of_depth(self) -> set[str]:
        """Return the names that one lacks in a block, and both have in another."""
        known = {pattern_of(name) for name in (*self.shared, *self.reshaped)}
        return {name for name in (*self.missing, *self.extra) if _in_known_block(name, known)}


def tensor_differences(here: Checkpoint, there: Checkpoint) -> TensorDifferences:
    """Compare names and shapes; no tensor is read."""
    both = [name for name in here if name in there]
    reshaped = {
        name: (here.shape(name), there.shape(name))
        for name in both
        if here.shape(name) != there.shape(name)
    }
    return TensorDifferences(
        frozenset(name for name in both if name not in reshaped),
        reshaped,
        {name: there.shape(name) for name in there if name not in here},
        {name: here.shape(name) for name in here if name not in there},
    )


def pattern_of(name: str) -> str:
    """Return a name with a star for each number that is a part of its own: `blocks.*.norm1`."""
    return re.sub(r"(?<=[./_])\d+(?=[./]|$)", "*", name)


def _in_known_block(name: str, known: set[str]) -> bool:
    pattern = pattern_of(name)
    return "*" in pattern and pattern in known


def by_pattern(names: Iterable[str]) -> dict[str, list[str]]:
    """Group names that differ in the number of their block alone."""
    groups: dict[str, list[str]] = defaultdict(list)
    for name in names:
        groups[pattern_of(name)].append(name)
    return dict(groups)
