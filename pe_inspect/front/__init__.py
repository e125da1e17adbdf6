"""What `import pe_inspect` offers: each function takes whatever holds a position embedding.

Analyses are handed containers. Here a path, a checkpoint, a module or a state dict becomes one,
in one place (`subject.py`), so that nothing behind this room asks what it was given.
"""

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
