"""What one patch of one image attends to, in every block: the one map that a trace keeps whole."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

from pe_inspect.arrays import Float, Shaped
from pe_inspect.errors import UsageError
from pe_inspect.live.capture import captured
from pe_inspect.live.change import NotApplicable
from pe_inspect.live.host import Host
from pe_inspect.live.images import ImageStream
from pe_inspect.live.interception import Attended
from pe_inspect.live.state_sums import grid_of
from pe_inspect.traces import AttentionExample

__all__ = ["checked_token", "example_of"]


def checked_token(host: Host, token: Sequence[int] | None) -> tuple[int, int]:
    """Return the patch to ask about: the one that was named, or the middle one.

    Raises:
        UsageError: the grid has no such patch.
    """
    rows, columns = host.grid_size
    if token is not None and len(token) != len(host.grid_size):
        raise UsageError(f"--token takes a row and a column, as in 7,7; not {list(token)}.")
    row, column = (rows // 2, columns // 2) if token is None else token
    if not (row < rows and column < columns):
        raise UsageError(
            f"--token {row},{column} is outside the grid of {rows}×{columns} patches: rows end at "
            f"{rows - 1}, columns at {columns - 1}."
        )
    return row, column


def example_of(host: Host, stream: ImageStream, token: tuple[int, int]) -> AttentionExample:
    """Run the first image once more, and keep what one of its patches attends to.

    Blocks whose attention does not span the image (windows, pooled keys) are left out.
    """
    image = next(iter(stream.batches(host.res, 1))).to(next(host.model.parameters()))
    rows: dict[int, _Row] = {}

    def hear(block: int, attended: Attended) -> None:
        found = _row(host, attended, token)
        if found is not None:
            rows.setdefault(block, found)

    captured(host, image, hear)
    blocks = sorted(rows)
    return AttentionExample(
        _pixels(image[0], stream), token, tuple(host.anatomy.blocks[i].name for i in blocks),
        tuple(rows[i].grid_size for i in blocks), tuple(rows[i].weights for i in blocks),
    )  # fmt: skip


class _Row(NamedTuple):
    """What one patch attends to: (heads, patches) on a grid; prefix keys take the rest."""

    grid_size: tuple[int, int]
    weights: Float[np.ndarray, "heads patches"]


def _row(host: Host, attended: Attended, token: tuple[int, int]) -> _Row | None:
    batch, _, queries, keys = attended.shape
    if batch != 1 or queries != keys:
        return None
    try:
        grid = grid_of(host, keys)
    except NotApplicable:  # a window
        return None
    row, column = (at * side // whole for at, side, whole in zip(token, grid, host.grid_size))
    prefix = keys - grid[0] * grid[1]
    place = prefix + row * grid[1] + column
    weights = attended.logits(slice(place, place + 1))[0, :, 0].softmax(dim=-1)
    return _Row(grid, weights[:, prefix:].float().cpu().numpy())


def _pixels(
    image: Float[torch.Tensor, "channels height width"], stream: ImageStream
) -> Shaped[np.ndarray, "height width 3"]:
    """Return an image as it is seen, uint8; what was normalised by others is stretched."""
    mean, std = (torch.tensor(v).view(-1, 1, 1) for v in
                 (stream.preprocessing.mean, stream.preprocessing.std))  # fmt: skip
    plain = image.float().cpu()
    if len(mean) == len(plain):
        plain = plain * std + mean
    shown = (plain.clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0)
    return np.ascontiguousarray(shown[..., :1].expand(-1, -1, 3) if shown.shape[2] != 3 else shown)
