"""How methods enter the registry: one decorator a sort of method, one function for libraries."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from pe_inspect.kinds.position_embedding import Kind, PositionEmbedding
from pe_inspect.resampling.methods import Method, methods
from pe_inspect.resampling.resampler import AxisMatrix, Resampler, Separable

__all__ = ["GRIDS", "library", "plain", "separable"]

GRIDS: Final[tuple[Kind, ...]] = ("vectors", "bias", "relative")
"""The kinds whose tables hold values by place, which any resampler of grids can read between."""


def separable(name: str, *, call: str, source: str) -> Callable[[AxisMatrix], Separable]:
    """Register a separable method by the matrix of one axis."""

    def enter(axis: AxisMatrix) -> Separable:
        resampler = Separable(name, axis)
        plain(resampler, call=call, source=source, kinds=GRIDS)
        return resampler

    return enter


def plain(resampler: Resampler, *, call: str, source: str, kinds: tuple[Kind, ...]) -> None:
    """Register a method that is always the same resampler."""
    entry = Method(resampler.name, call, source, kinds, lambda _: resampler)
    methods.register(resampler.name)(entry)


def library(name: str, by_kind: Mapping[Kind, Resampler], *, call: str, source: str) -> None:
    """Register what a library does: one resampler for each kind that it has."""

    def choose(pe: PositionEmbedding) -> Resampler:
        return next(by_kind[word] for word in pe.scheme_kind.resampled_as if word in by_kind)

    methods.register(name)(Method(name, call, source, tuple(by_kind), choose))
