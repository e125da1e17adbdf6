"""What cannot be resampled at all, and which method is of another kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from pe_inspect.errors import UsageError
from pe_inspect.kinds.all_kinds import (
    BIAS,
    COMPUTED_BIAS,
    PHASES,
    RELATIVE,
    RESPONSE,
    VECTORS,
    SchemeKind,
)
from pe_inspect.kinds.position_embedding import PositionEmbedding
from pe_inspect.kinds.relative import is_clipped
from pe_inspect.resampling.methods import Method, methods

__all__ = ["needs_nothing", "refuse_free", "refuse_other_kinds"]


def needs_nothing(pe: PositionEmbedding) -> str:
    """Return why an embedding serves every resolution as it is; empty where it does not."""
    return _of_any_grid(pe) if pe.facts.serves_any_grid else _NEEDS_NOTHING[pe.scheme_kind](pe)


def _of_any_grid(pe: PositionEmbedding) -> str:
    return (
        f"Nothing is to be done: {pe.tables[0].name} has {len(pe.tables[0].patches)} offsets "
        "whatever the grid (clipped), and serves any as it is."
    )


def _if_clipped(pe: PositionEmbedding) -> str:
    return _of_any_grid(pe) if any(map(is_clipped, pe.tables)) else ""


def _if_not_held(pe: PositionEmbedding) -> str:
    """A network that the embedding holds can be asked; otherwise the model asks its own."""
    if pe.has_networks:
        return ""
    return (
        "This bias is computed from the offset for any window, so there is no table to "
        "resample: nothing is to be done. To see it on another window: --grid-size HxW."
    )


def _of_input(pe: PositionEmbedding) -> str:
    return (
        f"This embedding is computed from {pe.facts.computed_from}, so there is no table to "
        "resample: nothing is to be done, it follows the size of the image by itself."
    )


def _never(pe: PositionEmbedding) -> str:  # noqa: ARG001
    return ""


_NEEDS_NOTHING: Final[Mapping[SchemeKind, Callable[[PositionEmbedding], str]]] = {
    VECTORS: _never,
    BIAS: _never,
    PHASES: _never,
    RELATIVE: _if_clipped,
    RESPONSE: _of_input,
    COMPUTED_BIAS: _if_not_held,
}


def refuse_free(pe: PositionEmbedding) -> None:
    """Refuse what has no table that another resolution would change.

    Raises:
        UsageError: with the reason.
    """
    reason = needs_nothing(pe)
    if reason:
        raise UsageError(reason)


def refuse_other_kinds(pe: PositionEmbedding, method: Method) -> None:
    """Refuse a method of another kind of scheme.

    Raises:
        UsageError: with the methods that apply.
    """
    if not method.suits(pe):
        names = dict.fromkeys(["native", *methods])
        fitting = [name for name in names if methods[name].suits(pe)]
        raise UsageError(
            f"--method {method.name} is for {', '.join(method.kinds)}, and this embedding "
            f"({pe.family}) is {pe.kind}. For it: {', '.join(fitting)}."
        )
