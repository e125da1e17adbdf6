"""Whether a model's tokens are row by row, which all that is said of places rests on."""

from __future__ import annotations

import torch

from pe_inspect.live.capture import captured
from pe_inspect.live.change import NotApplicable
from pe_inspect.live.host import Host

__all__ = ["check_order"]


def check_order(host: Host) -> None:
    """Change the first patch of the last row, and see which token ahead of the blocks follows.

    A stem whose patches overlap may move it by one.

    Raises:
        NotApplicable: it is another one.
    """
    rows, columns = host.grid_size
    images = host.blank(2)
    height, width = host.res[0] // rows, host.res[1] // columns
    images[1, :, (rows - 1) * height :, :width] += 1.0
    state = captured(host, images).states[0].float()
    if len(state) != len(images):
        raise NotApplicable(
            f"{type(host.model).__name__} attends within patches first, not among them: only the "
            "questions about its weights apply."
        )
    changed = (state[0] - state[1])[host.num_prefix_tokens :].norm(dim=-1)
    row, column = divmod(int(torch.argmax(changed)), columns)
    if float(changed.max()) > 0 and (row < rows - 2 or column > 1):
        raise NotApplicable(
            f"{type(host.model).__name__} does not keep its patches row by row (its first patch "
            f"of row {rows - 1} is token {row * columns + column}), so that no place can be told. "
            "Only the questions about its weights apply."
        )
