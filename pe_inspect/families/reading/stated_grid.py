"""The grid on which something is shown that has none of its own: a convolution runs on any."""

from __future__ import annotations

import re
from typing import Final

from pe_inspect.families.reading.grid import image_grid, x
from pe_inspect.families.reading.hints import origin
from pe_inspect.families.reading.named_model import input_grid
from pe_inspect.families.reading.names import block_names
from pe_inspect.loading.checkpoint import Checkpoint

__all__ = ["stated_grid"]

_SHOWN: Final = (14, 14)


def stated_grid(checkpoint: Checkpoint, convolution: str) -> tuple[tuple[int, int], str]:
    """Return a grid and the note that states it: as said, as the architecture's, else 14×14.

    The image size tells it where there are no stages, whose grids would differ.

    Args:
        checkpoint: whose hints are asked.
        convolution: the path of the module that runs on the grid, in the named architecture.
    """
    said = checkpoint.hints.grid_size
    if said is not None:
        return said, f"on a {x(said)} grid ({origin(checkpoint, 'grid_size')})"
    if (grid := input_grid(checkpoint, convolution)) is not None:
        return grid, f"on the grids of {checkpoint.hints.arch} ({origin(checkpoint, 'arch')})"
    if (grid := _of_plain_vit(checkpoint)) is not None:
        return grid, f"on a {x(grid)} grid, from img_size ({origin(checkpoint, 'img_size')})"
    return _SHOWN, f"on a {x(_SHOWN)} grid, for it runs on any (--grid-size, --arch)"


def _of_plain_vit(checkpoint: Checkpoint) -> tuple[int, int] | None:
    blocks = block_names(checkpoint)
    is_plain = bool(blocks) and all(re.fullmatch(r"blocks\.\d+", name) for name in blocks)
    return image_grid(checkpoint) if is_plain else None
