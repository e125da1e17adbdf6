"""Which section of a config.json speaks of the image tower, and what is said of its grid."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from invented.parts import blocks, kernel, small

from pe_inspect.errors import AmbiguousCheckpoint
from pe_inspect.families import extract
from pe_inspect.families.reading.tower_config import tower_config, tower_type
from pe_inspect.loading.checkpoint import Checkpoint, Hints

WIDTH = 32
TIMM = {"norm1": "norm", "attn.qkv": "qkv", "attn.proj": "square", "norm2": "norm",
        "mlp.fc1": "up", "mlp.fc2": "down"}  # fmt: skip


def rotary(config, prefix="", **said):
    """Read a tower of two blocks, whose angles a config.json tells."""
    state = {**kernel(f"{prefix}patch_embed.proj", WIDTH, (2, 4, 4)),
             **blocks(f"{prefix}blocks.", range(2), TIMM, WIDTH)}  # fmt: skip
    checkpoint = Checkpoint.from_state_dict(state, hints=Hints(num_heads=4, **said))
    return extract(replace(checkpoint, metadata={"config": config}))


@pytest.mark.parametrize(
    "config",
    [
        {"thinker_config": {"vision_config": {"model_type": "qwen2_5_vl", "depth": 2}}},
        {"model_type": "chmv2", "backbone_config": {"model_type": "qwen2_5_vl", "depth": 2}},
        {"vision_config": {"backbone_config": {"model_type": "qwen2_5_vl", "depth": 2}}},
        {"model_type": "qwen2_5_vl", "vision_config": {"depth": 2}},
    ],
)
def test_a_nested_section_is_found_and_has_the_type_of_the_whole(config):
    assert tower_config(config) == {"model_type": "qwen2_5_vl", "depth": 2}
    assert tower_type(config) == "qwen2_5_vl"


def test_a_configuration_of_one_model_is_its_own_section():
    assert tower_config({"hidden_size": 8}) == {"hidden_size": 8}
    assert tower_type({"_class_name": "DiT"}) == "DiT"


def test_a_thinker_s_rotations_are_computed_for_the_grid_that_is_said():
    vision = {"model_type": "qwen2_5_omni_vision_encoder", "hidden_size": WIDTH}
    config = {"model_type": "qwen2_5_omni", "thinker_config": {"vision_config": vision}}

    (asked,) = rotary(config, "thinker.visual.")
    (pe,) = rotary(config, "thinker.visual.", grid_size=(4, 6))

    assert (asked.grid_size, asked.depth) == (None, 2)
    assert (pe.kind, pe.grid_size, pe.depth) == ("phases", (4, 6), 2)


def test_frames_that_are_said_reach_a_video_model_s_rotations():
    config = {"model_type": "vjepa2", "hidden_size": WIDTH}

    (pe,) = rotary(config, grid_size=(3, 2, 5))

    assert pe.grid_size == (3, 2, 5)
    by_frame = pe.tables[0].values[0].reshape(3, 2, 5, -1)
    assert not np.allclose(by_frame[0], by_frame[1])


def test_frames_of_a_model_that_turns_by_row_and_column_turn_alike():
    (pe,) = rotary({"model_type": "qwen2_vl", "hidden_size": WIDTH}, grid_size=(3, 2, 5))

    by_frame = pe.tables[0].values[0].reshape(3, 2, 5, -1)
    assert np.array_equal(by_frame[0], by_frame[2])


def test_frames_are_refused_where_a_rule_is_of_images_alone():
    with pytest.raises(AmbiguousCheckpoint, match="row and column of an image alone"):
        rotary({"model_type": "pixtral", "hidden_size": WIDTH}, grid_size=(3, 2, 5))


def test_a_table_of_one_size_and_rotations_of_another_are_read_together():
    config = {"model_type": "qwen3_vl", "vision_config": {"hidden_size": WIDTH}}
    state = {**kernel("visual.patch_embed.proj", WIDTH, (2, 4, 4)),
             **blocks("visual.blocks.", range(2), TIMM, WIDTH),
             "visual.pos_embed.weight": small(36, WIDTH)}  # fmt: skip
    said = Hints(num_heads=4, grid_size=(4, 6), origins={"grid_size": "--grid-size"})
    checkpoint = Checkpoint.from_state_dict(state, hints=said)

    found = extract(replace(checkpoint, metadata={"config": config}))

    assert [(pe.kind, pe.grid_size) for pe in found] == [("vectors", (6, 6)), ("phases", (4, 6))]
