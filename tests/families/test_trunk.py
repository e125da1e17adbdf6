"""One reading of a checkpoint: what it is asked once, and how often its tensors are read."""

from __future__ import annotations

import pickle
import re
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import save_file

from pe_inspect.families import extract, families
from pe_inspect.families.trunk import Trunk
from pe_inspect.kinds.position_embedding import PositionEmbedding
from pe_inspect.loading import ChangedMeanwhile, load
from pe_inspect.loading.checkpoint import Checkpoint, Hints, StoredTensor


def vit(depth=3, width=8):
    """A small ViT whose table lies on a 3×4 grid behind a class token."""
    draw = np.random.default_rng(0).normal
    state = {
        "cls_token": np.zeros((1, 1, width)),
        "pos_embed": draw(size=(1, 13, width)),
        "patch_embed.proj.weight": np.zeros((width, 3, 16, 8)),
    }
    for i in range(depth):
        for name in ("norm1", "norm2"):
            state[f"blocks.{i}.{name}.weight"] = np.ones(width)
            state[f"blocks.{i}.{name}.bias"] = np.zeros(width)
        state[f"blocks.{i}.attn.qkv.weight"] = np.zeros((3 * width, width))
    return {key: value.astype(np.float32) for key, value in state.items()}


def counted(state, **hints):
    """A checkpoint in memory, and how often each of its tensors was read."""
    reads = Counter[str]()

    def watched(key, value):
        def read():
            reads[key] += 1
            return value

        return StoredTensor(key, value.shape, str(value.dtype), read)

    tensors = {key: watched(key, value) for key, value in state.items()}
    return Checkpoint("watched", None, "state_dict", tensors, Hints(**hints)), reads


def swin():
    draw = np.random.default_rng(1).normal
    state = {}
    for i in range(2):
        stem = f"layers.0.blocks.{i}"
        state[f"{stem}.norm1.weight"] = np.ones(8, np.float32)
        state[f"{stem}.attn.relative_position_bias_table"] = draw(size=(35, 2)).astype("f4")
        state[f"{stem}.attn.relative_position_index"] = np.zeros((12, 12), np.int64)
    return state


@pytest.mark.parametrize("state", [vit(), swin()], ids=["table", "biases"])
def test_each_tensor_is_read_at_most_once(state):
    checkpoint, reads = counted(state, grid_size=(3, 4))
    assert extract(checkpoint)
    assert reads
    assert set(reads.values()) == {1}


def saved(tmp_path, state):
    """A file of a state, opened, and how often each of its tensors was read."""
    save_file(state, path := tmp_path / "vit.safetensors")
    checkpoint = load(path)
    reads = Counter[str]()

    def watched(stored):
        def read():
            reads[stored.key] += 1
            return stored.read()

        return replace(stored, read=read)

    tensors = {key: watched(stored) for key, stored in checkpoint.tensors.items()}
    hints = Hints(grid_size=(3, 4))
    return replace(checkpoint, tensors=tensors, hints=hints), reads


def test_of_a_file_a_table_is_read_and_a_norm_when_somebody_looks(tmp_path):
    state = vit()
    checkpoint, reads = saved(tmp_path, state)
    (pe,) = extract(checkpoint)
    assert set(reads) == {"pos_embed"}
    assert [norm.num_features for norm in pe.norms] == [8] * 6
    for _ in range(2):
        np.testing.assert_array_equal(pe.norms[0].weight, state["blocks.0.norm1.weight"])
    assert reads == {"pos_embed": 1, "blocks.0.norm1.weight": 1}


def test_norms_that_nobody_has_looked_at_travel_in_a_saved_and_in_a_pickled_container(tmp_path):
    (pe,) = extract(saved(tmp_path, vit())[0])
    again = PositionEmbedding.open(pe.save(tmp_path / "x.pe.safetensors"))
    for other in (again, pickle.loads(pickle.dumps(pe))):
        np.testing.assert_array_equal(other.norms[-1].bias, np.zeros(8))


def test_a_norm_of_a_file_that_was_replaced_meanwhile_is_not_read_from_the_other_file(tmp_path):
    (pe,) = extract(saved(tmp_path, vit())[0])
    (tmp_path / "other").write_bytes((tmp_path / "vit.safetensors").read_bytes())
    (tmp_path / "other").replace(tmp_path / "vit.safetensors")
    with pytest.raises(ChangedMeanwhile, match="changed after it was opened"):
        _ = pe.norms[0].weight


def test_only_tables_and_norms_are_read():
    checkpoint, reads = counted(vit(), grid_size=(3, 4))
    extract(checkpoint)
    assert all("norm" in key or key == "pos_embed" for key in reads)


def test_a_trunk_says_what_a_checkpoint_holds():
    trunk = Trunk(counted(vit())[0])
    assert trunk.blocks == ("blocks.0", "blocks.1", "blocks.2")
    assert (trunk.depth, trunk.patch_size, trunk.prefix_tokens.total) == (3, (16, 8), 1)
    assert [norm.path for norm in trunk.norms.params][:2] == ["blocks.0.norm1", "blocks.0.norm2"]
    assert trunk.place("blocks.1.norm2.bias") == ("blocks.1", "norm2")


def test_each_part_of_a_trunk_is_found_out_once():
    trunk = Trunk(counted(vit())[0])
    for part in ("names", "blocks", "norms", "prefix_tokens"):
        assert getattr(trunk, part) is getattr(trunk, part)


@pytest.mark.parametrize(
    "pattern",
    [r"blocks\.[12]\.attn\..*", r"blocks\.0\.norm1\.weight", r".*norm[2]\.bias", r"pos_embed"],
)
def test_a_pattern_finds_what_trying_it_on_every_name_finds(pattern):
    state = {**vit(depth=12), "stages.10.blocks.2.norm2.bias": np.zeros(8, np.float32)}
    trunk, compiled = Trunk(counted(state)[0]), re.compile(pattern)
    found = [each.bare for each in trunk.matching(compiled)]
    assert found == [name for name in state if compiled.fullmatch(name)]


def test_a_pattern_is_tried_within_blocks_too():
    trunk = Trunk(counted(vit(depth=11))[0])
    found = trunk.matching_in_blocks(re.compile(r"norm1\.weight"))
    assert [each.layer for each in found] == [f"blocks.{i}" for i in range(11)]


def test_a_tensor_that_a_trunk_keeps_cannot_be_written_to():
    state = vit()
    values = Trunk(counted(state)[0]).tensor("pos_embed")
    with pytest.raises(ValueError, match="read-only"):
        values[0] = 1
    state["pos_embed"][0] = 1  # the caller's own array is still its own


def test_every_family_states_what_it_is_and_its_embeddings_carry_it(tmp_path):
    assert all(family.facts.sentence for family in families.values())
    (pe,) = extract(counted(vit(), grid_size=(3, 4))[0])
    assert pe.facts == families["learned_absolute"].facts
    again = PositionEmbedding.open(pe.save(tmp_path / "x.pe.safetensors"))
    assert again.facts == pe.facts
    assert replace(pe, source="elsewhere").facts == pe.facts
