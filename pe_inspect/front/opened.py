"""A checkpoint that was opened, with the embeddings that were found in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pe_inspect.kinds.position_embedding import PositionEmbedding
    from pe_inspect.loading.checkpoint import Checkpoint

__all__ = ["OpenedCheckpoint"]


@dataclass(frozen=True, kw_only=True)
class OpenedCheckpoint:
    """A checkpoint, and every position embedding in it.

    Attributes:
        checkpoint: the file.
        tables: its embeddings; none where it has none.
    """

    checkpoint: Checkpoint
    tables: tuple[PositionEmbedding, ...]
