"""Every flag that a message lists is followed, and finds the reading that it names."""

from __future__ import annotations

import re

import numpy as np
import pytest
from invented.parts import DIM, blocks, kernel, small

from pe_inspect.errors import AmbiguousCheckpoint
from pe_inspect.families import extract
from pe_inspect.loading import Hints
from pe_inspect.loading.checkpoint import Checkpoint

BY_NAMES = {
    "pos_embed": small(1, 13, DIM), "cls_token": small(1, 1, DIM), **kernel("patch_embed.proj"),
    "blocks.0.norm1.weight": small(DIM), "blocks.0.attn.qkv.weight": small(3 * DIM, DIM),
    "blocks.0.attn.proj.weight": small(DIM, DIM),
}  # fmt: skip
BY_STRUCTURE = {"eye.pos": small(1, 29, DIM), "eye.cls": small(DIM), **kernel(),
                **blocks("rung.", range(2))}  # fmt: skip
VOLUME = {"scan.pos": small(1, 30, DIM), **kernel("scan.cut", sides=(2, 4, 4)),
          **blocks("scan.n.", range(2))}  # fmt: skip
WINDOWS = {**kernel(), **blocks("n.", range(2))}
WINDOWS |= {f"n.{i}.mixer.relative_position_bias_table": small(35, 4) for i in range(2)}
SWIN = {f"layers.0.blocks.{i}.attn.relative_position_bias_table": small(35, 4) for i in range(2)}
TWO_ROWS = {"where_pos": small(2, 30, DIM), **kernel(), **blocks("n.", range(2))}
LEVIT = {f"stages.0.blocks.{i}.attn.attention_biases": small(2, 12) for i in range(2)}
STATES = {"names": BY_NAMES, "structure": BY_STRUCTURE, "volume": VOLUME, "windows": WINDOWS,
          "swin": SWIN, "two rows": TWO_ROWS, "distances": LEVIT}  # fmt: skip


def listed(message: str) -> list[tuple[tuple[int, ...], int | None]]:
    """Return (grid, prefix rows) for every combination of flags that a message lists."""
    found = []
    for part in re.split(r"[;(]", message):
        if "--grid-size" not in part:
            continue
        typed = re.search(r"--num-prefix-tokens (\d+)", part)
        grids = re.findall(r"(?<![\d.×])\d+(?:x\d+)+", part)
        found += [(tuple(map(int, g.split("x"))), int(typed[1]) if typed else None) for g in grids]
    return found


@pytest.mark.parametrize("name", STATES)
def test_every_listed_flag_finds_what_it_names(name):
    state = {key: np.asarray(values) for key, values in STATES[name].items()}
    with pytest.raises(AmbiguousCheckpoint) as asked:
        extract(Checkpoint.from_state_dict(state))

    readings = listed(str(asked.value))

    assert len(readings) > 1
    for grid, prefix in readings:
        hints = Hints(grid_size=grid, num_prefix_tokens=prefix)
        (pe,) = extract(Checkpoint.from_state_dict(state, hints=hints))
        assert pe.grid_size == grid
        if prefix is not None:
            assert pe.num_prefix_rows == prefix
