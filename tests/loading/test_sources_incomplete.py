"""Files that are only a part of a model, or not its numbers: half of the shards, quantised ones."""

from __future__ import annotations

import json
import re

import pytest
from safetensors.torch import save_file

from pe_inspect.errors import UnreadableCheckpoint
from pe_inspect.loading import load
from pe_inspect.loading.quantised import quantised_note


@pytest.fixture
def sharded(vit, tmp_path):
    """Return a function that writes so many of twelve shards, and the index of all."""

    def write(present):
        names = [f"model-{i:05d}-of-00012.safetensors" for i in range(1, 13)]
        keys = dict.fromkeys([*vit, "a", "b", "c"])
        index = {"weight_map": dict(zip(keys, names, strict=True))}
        (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
        for name, (key, tensor) in list(zip(names, vit.items()))[:present]:
            save_file({key: tensor}, tmp_path / name)
        return tmp_path

    return write


def test_every_missing_shard_is_named(sharded):
    message = (
        "model.safetensors.index.json names the shards 'model-00009-of-00012.safetensors', "
        "'model-00010-of-00012.safetensors', 'model-00011-of-00012.safetensors', "
        "'model-00012-of-00012.safetensors', which are not in"
    )
    with pytest.raises(UnreadableCheckpoint, match=re.escape(message)):
        load(sharded(8))


def test_of_many_missing_shards_the_rest_is_counted(sharded):
    with pytest.raises(
        UnreadableCheckpoint, match=r"and 2 more, which are not in .* the missing f"
    ):
        load(sharded(2))


@pytest.mark.parametrize(
    ("name", "tool"),
    [
        ("blocks.0.attn.qkv.SCB", "bitsandbytes"),
        ("blocks.0.attn.qkv.weight.absmax", "bitsandbytes"),
        ("blocks.0.attn.qkv.weight.quant_state.bitsandbytes__nf4", "bitsandbytes"),
        ("blocks.0.attn.qkv.g_idx", "GPTQ"),
        ("blocks.0.attn.qkv.qweight", "AWQ or GPTQ"),
        ("blocks.0.attn.qkv.W_q", "HQQ"),
        ("blocks.0.attn.qkv.weight._data", "quanto"),
        ("blocks.0.attn.qkv.weight_packed", "compressed-tensors"),
        ("blocks.0.attn.qkv.weight_scale", "float8 or int8 with scales"),
    ],
)
def test_a_quantised_file_says_by_which_tool(name, tool):
    (note,) = quantised_note(["pos_embed", name])
    assert note.startswith(f"quantised by {tool} (1 tensor such as {name})")


def test_the_config_s_word_for_the_tool_is_taken():
    (note,) = quantised_note(
        ["x.qweight", "y.qweight"], {"quantization_config": {"quant_method": "awq"}}
    )
    assert note.startswith("quantised by awq (2 tensors such as x.qweight)")
    (note,) = quantised_note(["x"], {"quantization_config": {"quant_method": "fbgemm_fp8"}})
    assert note.startswith("quantised by fbgemm_fp8 (its config.json says so)")


@pytest.mark.parametrize(
    "config", [None, {}, {"quantization_config": None}, {"quantization_config": 3}]
)
def test_an_ordinary_file_is_not_called_quantised(config, vit):
    assert quantised_note(vit, config) == ()
