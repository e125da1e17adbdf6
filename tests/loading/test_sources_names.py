"""Wrappers of any name, towers, stacks of blocks, and one tensor taken for the table."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pe_inspect.errors import UsageError
from pe_inspect.loading import Checkpoint, load
from pe_inspect.loading.prefixes import find_trunk
from pe_inspect.loading.stacked import unstacked

HF = [
    *("embeddings.position_embeddings", "embeddings.cls_token"),
    *("encoder.layer.0.layernorm_before.weight", "layernorm.weight"),
]


def tensors(names, shape=(2,)):
    zeros = {name: np.full(shape, i, dtype=np.float32) for i, name in enumerate(names)}
    return dict(Checkpoint.from_state_dict(zeros).tensors)


@pytest.mark.parametrize(
    "prefix", ["audio_spectrogram_transformer.", "owlvit.vision_model.", "pvt."]
)
def test_a_wrapper_that_nobody_listed_comes_off(prefix):
    found, notes = find_trunk(tensors([*(prefix + name for name in HF), "classifier.weight"]))
    assert list(found) == [*HF, "classifier.weight"]
    assert len(notes) == 1


@pytest.mark.parametrize(
    "names",
    [
        ["features.0.0.weight", "features.1.0.attn.relative_position_bias_table"],
        ["embedding.pos_embedding", "embedding.cls_token", "encoder.0.norm1.weight"],
        ["layers.0.blocks.0.attn.relative_position_bias_table", "norm.weight"],
        ["blocks.0.attn.relative_position_bias_table", "norm.weight"],
        ["decoder.pos_embed", "decoder.cls_token"],
        ["weird name.pos_embed", "weird name.cls_token"],
    ],
)
def test_the_trunk_s_own_first_words_stay(names):
    assert list(find_trunk(tensors(names))[0]) == names


def test_a_text_tower_alone_is_taken_when_it_is_asked_for():
    names = ["embeddings.token_embedding.weight", "embeddings.position_embedding.weight"]
    for wrapper in ("", "text_model."):
        found, notes = find_trunk(tensors([wrapper + name for name in names]), "text")
        assert list(found) == names
        assert not any("left out" in note for note in notes)
    with pytest.raises(UsageError, match="one tower only"):
        find_trunk(tensors(HF), "text")


def test_one_tensor_left_out_is_counted_in_the_singular():
    names = ["img/pos_embedding", "img/cls", "txt/pos_embedding"]
    found, notes = find_trunk(tensors(names))
    assert list(found) == ["pos_embedding", "cls"]
    assert (
        "took the vision tower; 1 tensor of the text tower was left out (--tower text" in notes[1]
    )


def test_a_stack_is_split_lazily_and_keeps_its_stored_name():
    stacked = tensors(
        ["Transformer/encoderblock/a/kernel", "Transformer/encoder_norm/scale"], (3, 2)
    )
    split, notes = unstacked(stacked)
    assert list(split) == [
        *(f"Transformer/encoderblock_{i}/a/kernel" for i in range(3)),
        "Transformer/encoder_norm/scale",
    ]
    part = split["Transformer/encoderblock_1/a/kernel"]
    assert (part.shape, part.key) == ((2,), "Transformer/encoderblock/a/kernel")
    assert np.array_equal(part.read(), np.zeros(2))
    assert len(notes) == 1


def test_a_stack_that_disagrees_about_its_blocks_is_left_alone():
    stack = tensors(["encoderblock/a"], (3, 2)) | tensors(["encoderblock/b"], (4, 2))
    split, notes = unstacked(stack)
    assert (list(split), notes) == (["encoderblock/a", "encoderblock/b"], ())


def test_a_tensor_that_is_named_takes_the_table_s_place(vit, saved):
    vit["where"] = vit.pop("pos_embed")
    path = saved({"model": vit, "epoch": 3})
    ckpt = load(path, state_dict_key="where")
    assert ckpt.stored_key("pos_embed") == "where"
    assert set(ckpt.keys) == (set(vit) | {"pos_embed"}) - {"where"}
    assert torch.equal(torch.from_numpy(ckpt.tensor("pos_embed")), vit["where"])
    with pytest.raises(UsageError, match="Unknown state dict 'wher'"):
        load(path, state_dict_key="wher")
