"""A config.json that came with the weights and tells of another model than they do.

Which of the two is right is nobody's to guess: both are said, and the user decides.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from pe_inspect.errors import AmbiguousCheckpoint
from pe_inspect.families.reading.hints import is_of_config
from pe_inspect.families.reading.names import block_names, depth, place, trunk
from pe_inspect.loading.checkpoint import Checkpoint

__all__ = ["refuse_other_model"]

_NORM: Final = re.compile(r"(?P<stem>.+)[./](?:weight|scale|gamma)")


def refuse_other_model(checkpoint: Checkpoint) -> None:
    """Compare the depth and the width that a config.json states with those of the weights.

    Raises:
        AmbiguousCheckpoint: they differ; both are said.
    """
    found = "; ".join(_differences(checkpoint))
    if found:
        raise AmbiguousCheckpoint(
            f"config.json contradicts the weights of {checkpoint.source}: {found}. One of the two "
            "is of another model: put the right config.json beside the weights, or give the "
            "weight file without it."
        )


def _differences(checkpoint: Checkpoint) -> Iterator[str]:
    hints = checkpoint.hints
    if not any(name.startswith("blocks.") for name in block_names(checkpoint)):
        return  # a pyramid's stages differ in width, and configurations count them variously
    if is_of_config(checkpoint, "depth") and hints.depth != (blocks := depth(checkpoint)):
        yield f"it says {hints.depth} blocks, they have {blocks}"
    width = _width(checkpoint)
    if is_of_config(checkpoint, "embed_dim") and width and hints.embed_dim != width:
        yield f"it says embed_dim {hints.embed_dim}, they have {width}"


def _width(checkpoint: Checkpoint) -> int | None:
    """The width of the first block's first norm."""
    for bare, key in trunk(checkpoint).items():
        if match := _NORM.fullmatch(bare):
            shape = checkpoint.shape(key)
            if len(shape) == 1 and place(match["stem"]) == ("blocks.0", "norm1"):
                return shape[0]
    return None
