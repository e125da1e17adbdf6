"""The grid on which something is shown that has none of its own: a convolution runs on any."""

from __future__ import annotations

import re
from typing import Final

from pe_inspect.families.reading.grid import image_grid, x
from pe_inspect.families.reading.named_model import input_grid
from pe_inspect.families.trunk import Trunk

__all__ = ["stated_grid"]

_SHOWN: Final = (14, 14)


def stated_grid(trunk: Trunk, convolution: str) -> tuple[tuple[int, int], str]:
    """Return a grid and the note that states it: as said, as the architecture's, else 14×14.

    The image size tells it where there are no stages, whose grids would differ.

    Args:
        trunk: whose hints are asked.
        convolution: the path of the module that runs on the grid, in the named architecture.
    """
    said = trunk.hints.grid_size
    if said is not None:
        return said, f"on a {x(said)} grid ({trunk.hints.origin('grid_size')})"
    if (grid := input_grid(trunk, convolution)) is not None:
        return grid, f"on the grids of {trunk.hints.arch} ({trunk.hints.origin('arch')})"
    if (grid := _of_plain_vit(trunk)) is not None:
        return grid, f"on a {x(grid)} grid, from img_size ({trunk.hints.origin('img_size')})"
    return _SHOWN, f"on a {x(_SHOWN)} grid, for it runs on any (--grid-size, --arch)"


def _of_plain_vit(trunk: Trunk) -> tuple[int, int] | None:
    blocks = trunk.blocks
    is_plain = bool(blocks) and all(re.fullmatch(r"blocks\.\d+", name) for name in blocks)
    return image_grid(trunk) if is_plain else None
