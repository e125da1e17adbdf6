"""What a question says to each of several embeddings, before anything is made of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from pe_inspect.errors import UsageError

if TYPE_CHECKING:
    from pe_inspect.kinds.position_embedding import PositionEmbedding

__all__ = ["refusals_of"]


def refusals_of(
    ask: Callable[[PositionEmbedding], Any], tables: Sequence[PositionEmbedding]
) -> list[str]:
    """Ask each embedding, and return why some have no answer.

    Args:
        ask: a question of one embedding.
        tables: the embeddings.

    Raises:
        UsageError: none of them has an answer: that of the first.
    """
    found: list[UsageError] = []
    for pe in tables:
        try:
            ask(pe)
        except UsageError as error:
            found.append(error)
    if found and len(found) == len(tables):
        raise found[0]
    return [str(error) for error in found]
