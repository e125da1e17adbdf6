"""How methods enter the registry: one decorator a sort of method, one function for libraries."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, get_args

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


def library(
    name: str,
    *,
    call: str,
    source: str,
    vectors: Resampler | None = None,
    bias: Resampler | None = None,
    relative: Resampler | None = None,
    phases: Resampler | None = None,
    model_types: tuple[str, ...] = (),
    from_source: tuple[str, ...] = (),
    of_authors: tuple[str, ...] = (),
) -> None:
    """Register what a library does: one resampler for each kind that it has.

    Args:
        name: as typed after `--method`.
        call: the exact arguments.
        source: where it is defined.
        vectors: what resamples tables that are added to tokens; likewise the other kinds.
        bias: tables of offsets.
        relative: vectors by offset along an axis.
        phases: angles.
        model_types: what a config.json calls the models whose own rule this is, as a test asked
            of the library's own object.
        from_source: likewise, as its source says, where no test asks its object.
        of_authors: likewise, by its authors' code, where its library takes no other size.
    """
    given = {"vectors": vectors, "bias": bias, "relative": relative, "phases": phases}
    by_kind = {word: each for word, each in given.items() if each is not None}

    def choose(pe: PositionEmbedding) -> Resampler:
        return next(by_kind[word] for word in pe.scheme_kind.resampled_as if word in by_kind)

    kinds = tuple(word for word in get_args(Kind) if word in by_kind)
    types = (*model_types, *from_source, *of_authors)
    methods.register(name)(
        Method(name, call, source, kinds, choose, types, from_source, of_authors)
    )
