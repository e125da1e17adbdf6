"""A question that was not asked, or could not be: the reason stands where its answer would."""

from __future__ import annotations

from dataclasses import dataclass

from pe_inspect.kinds.position_embedding import PositionEmbedding

__all__ = ["NoAnswer"]


@dataclass(frozen=True, eq=False)
class NoAnswer:
    """Why a question has no answer.

    Attributes:
        question: its word.
        reason: in words, with what can be done.
        pe: the embedding that it would have been asked of.
    """

    question: str
    reason: str
    pe: PositionEmbedding | None = None

    def summary(self) -> dict[str, float]:
        """Return no numbers."""
        return {}
