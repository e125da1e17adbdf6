"""A file of which some positions would be of the new size and some of the old is not written."""

from __future__ import annotations

import numpy as np
import pytest

from pe_inspect.baking.left_behind import left_behind
from pe_inspect.baking.plan import BakeRequest, plan
from pe_inspect.errors import UsageError
from pe_inspect.loading.checkpoint import Checkpoint, Hints

RNG = np.random.default_rng(0)


def noise(*shape):
    return RNG.normal(size=shape).astype(np.float32)


def vit(**more):
    """A table of 3×4 patches with a class token's row, and two blocks."""
    blocks = {}
    for i in range(2):
        stem = f"blocks.{i}."
        blocks |= {f"{stem}norm1.weight": np.ones(16, np.float32)}
        blocks |= {f"{stem}attn.qkv.weight": noise(48, 16), f"{stem}attn.qkv.bias": noise(48)}
        blocks |= {f"{stem}attn.proj.weight": noise(16, 16), f"{stem}mlp.fc1.weight": noise(32, 16)}
    state = {"cls_token": noise(1, 1, 16), "pos_embed": noise(1, 13, 16)}
    kernel = {"patch_embed.proj.weight": noise(16, 3, 4, 4), "patch_embed.proj.bias": noise(16)}
    return {**state, **kernel, **blocks, **more}


def planned(**more):
    hints = Hints(grid_size=(3, 4), num_prefix_tokens=1)
    checkpoint = Checkpoint.from_state_dict(vit(**more), source="a.pth", hints=hints)
    return plan(checkpoint, BakeRequest(grid=(5, 7)))


@pytest.mark.parametrize(
    "more",
    [
        {f"blocks.{i}.attn.rel_pos_d": noise(7, 8) for i in range(2)},
        {"decoder_pos_embed": noise(1, 10, 8)},
        {"second.pos_embed": noise(1, 21, 8)},
        {"inner_position_embedding.weight": noise(6, 8)},
    ],
)
def test_a_table_that_nobody_knows_is_named_and_nothing_is_planned(more):
    with pytest.raises(UsageError) as caught:
        planned(**more)

    for name, values in more.items():
        assert f"{name} {values.shape}" in str(caught.value)
    assert "none is written" in str(caught.value)


@pytest.mark.parametrize(
    "more",
    [
        {"time_embed": noise(1, 8, 16)},
        {"query_pos.weight": noise(9, 16)},
        {"neck.pos_proj.weight": noise(16, 16), "neck.pos_proj.bias": noise(16)},
        {"decoder_pos_embed": noise(1, 13, 8)},  # of the encoder's grid: it changes too
    ],
)
def test_what_no_image_changes_does_not_stop_it(more):
    made = planned(**more)

    assert made.changes["pos_embed"].shape == (1, 36, 16)
    assert set(made.changes) <= {"pos_embed", "decoder_pos_embed"}


def test_a_class_token_is_no_vocabulary():
    checkpoint = Checkpoint.from_state_dict(vit(), source="a.pth")

    assert left_behind(checkpoint, set(), set()) == ["pos_embed"]
    assert left_behind(checkpoint, {"pos_embed"}, set()) == []


@pytest.mark.parametrize("table", ["text.positional_embedding", "positional_embedding"])
def test_the_table_beside_a_vocabulary_is_of_text(table):
    above = table.rpartition(".")[0]
    words = f"{above}.token_embedding.weight".lstrip(".")
    state = {**vit(), table: noise(77, 8), words: noise(99, 8)}
    checkpoint = Checkpoint.from_state_dict(state, source="a.pth")

    assert table not in left_behind(checkpoint, set(), set())
