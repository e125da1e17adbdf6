"""A config.json that came with the weights and tells of another model than they do.

Which of the two is right is nobody's to guess: both are said, and the user decides.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from pe_inspect.errors import AmbiguousCheckpoint
from pe_inspect.families.trunk import Trunk

__all__ = ["refuse_other_model"]

_WEIGHT: Final = re.compile(r".+[./](?:weight|scale|gamma)")


def refuse_other_model(trunk: Trunk) -> None:
    """Compare the depth and the width that a config.json states with those of the weights.

    Raises:
        AmbiguousCheckpoint: they differ; both are said.
    """
    found = "; ".join(_differences(trunk))
    if found:
        raise AmbiguousCheckpoint(
            f"config.json contradicts the weights of {trunk.source}: {found}. One of the two "
            "is of another model: put the right config.json beside the weights, or give the "
            "weight file without it."
        )


def _differences(trunk: Trunk) -> Iterator[str]:
    hints = trunk.hints
    if not any(name.startswith("blocks.") for name in trunk.blocks):
        return  # a pyramid's stages differ in width, and configurations count them variously
    if trunk.hints.is_of_config("depth") and hints.depth != (blocks := trunk.depth):
        yield f"it says {hints.depth} blocks, they have {blocks}"
    width = _width(trunk)
    if trunk.hints.is_of_config("embed_dim") and width and hints.embed_dim != width:
        yield f"it says embed_dim {hints.embed_dim}, they have {width}"


def _width(trunk: Trunk) -> int | None:
    """The width of the first block's first norm."""
    for each in trunk.matching_in_blocks(_WEIGHT):
        shape = trunk.shape(each.key)
        if len(shape) == 1 and trunk.place(each.bare) == ("blocks.0", "norm1"):
            return shape[0]
    return None
