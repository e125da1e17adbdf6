"""Whether names alone are believed: only where rows and values give the grid that they gave."""

from __future__ import annotations

import numpy as np
import pytest
from invented.parts import DIM, blocks, kernel, small, table, waves

from pe_inspect.families import extract, families
from pe_inspect.families.structure.plain import speaks_for
from pe_inspect.families.trunk import Trunk
from pe_inspect.loading.checkpoint import Checkpoint

TIMM = {"norm1": "norm", "attn.qkv": "qkv", "attn.proj": "square", "norm2": "norm",
        "mlp.fc1": "up", "mlp.fc2": "down"}  # fmt: skip


def plain(values, *, cls=True):
    token = {"cls_token": small(1, 1, DIM)} if cls else {}
    state = {"pos_embed": values, **token, **kernel("patch_embed.proj"),
             **blocks("blocks.", range(2), TIMM)}  # fmt: skip
    return Checkpoint.from_state_dict(state)


def by_names(checkpoint):
    (pe,) = families["learned_absolute"].extract(Trunk(checkpoint))
    return pe


@pytest.mark.parametrize("values", [table((6, 6), 1)[None], small(1, 37, DIM)])
def test_a_square_that_no_value_contradicts_is_believed(values):
    checkpoint = plain(values)
    assert Trunk(checkpoint).is_plain
    assert speaks_for(Trunk(checkpoint), by_names(checkpoint))


def test_a_square_that_the_values_contradict_is_not():
    checkpoint = plain(table((4, 9), 1)[None])

    pe = by_names(checkpoint)

    assert pe.grid_size == (6, 6)
    assert not speaks_for(Trunk(checkpoint), pe)
    assert extract(checkpoint)[0].grid_size == (4, 9)


@pytest.mark.parametrize(
    "values", [waves((5, 7), DIM).reshape(1, 5, 7, DIM), waves((5, 7), DIM).T.reshape(1, DIM, 5, 7)]
)
def test_a_shape_that_tells_the_grid_is_left_to_structure(values):
    checkpoint = plain(values, cls=False)
    assert not speaks_for(Trunk(checkpoint), by_names(checkpoint))
    assert extract(checkpoint)[0].grid_size == (5, 7)


def test_a_file_without_a_patch_kernel_is_left_to_structure():
    state = {"pos_embed": np.zeros((1, 37, DIM), np.float32), "cls_token": small(1, 1, DIM)}
    checkpoint = Checkpoint.from_state_dict(state | blocks("blocks.", range(2), TIMM))
    assert not speaks_for(Trunk(checkpoint), by_names(checkpoint))
