"""The container itself: counts, hashes, and state dicts in memory."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
import timm
import torch

from pe_inspect.loading import Checkpoint, Hints, load
from pe_inspect.loading.formats import formats


@pytest.mark.parametrize("name", ["deit_tiny_patch16_224", "resnet18"])
def test_parameters_are_counted_as_the_model_counts_them(name, saved):
    model = timm.create_model(name)
    expected = sum(parameter.numel() for parameter in model.parameters())
    assert load(saved({"model": model.state_dict()})).num_parameters == expected
    assert Checkpoint.from_state_dict(model.state_dict()).num_parameters == expected


def test_tied_weights_count_once_and_slices_of_one_buffer_each(saved):
    table, flat = torch.ones(3, 4), torch.ones(20)
    state = {"a": table, "b": table, "c": table.t(), "d": flat[:8], "e": flat[8:]}
    assert load(saved(state)).num_parameters == 12 + 20
    assert Checkpoint.from_state_dict(state).num_parameters == 12 + 20


def test_a_checkpoint_prints_as_one_line():
    state = {"a": np.ones(3, np.float32), "b": np.ones(3, np.float32)}
    assert (
        repr(Checkpoint.from_state_dict(state)) == "Checkpoint(state_dict, state_dict, 2 tensors)"
    )


def test_buffers_and_integers_are_no_parameters():
    state = {
        "weight": np.ones((3, 4), np.float32),
        "relative_position_index": np.ones((49, 49), np.int64),
        "layers.0.attn_mask": np.ones((4, 49, 49), np.float32),
        "bn.running_mean": np.ones(5, np.float32),
        "rope.freqs_cos": np.ones((6, 4), np.float32),
        "encoder.0.attention.rotary_embedding.x_cos": np.ones((3, 4), np.float32),
        "embedding.pos_embedding.pos_embedding": np.ones((1, 12, 16), np.float32),
        "bn.num_batches_tracked": np.ones((), np.int64),
    }
    assert Checkpoint.from_state_dict(state).num_parameters == 12


def test_a_state_dict_in_memory_is_read_when_asked(vit, equal):
    ckpt = Checkpoint.from_state_dict({**vit, "half": torch.ones(3, dtype=torch.bfloat16)})
    assert ckpt.dtype("half") == "bfloat16"
    assert equal(ckpt.tensor("half"), torch.ones(3, dtype=torch.bfloat16))
    assert all(equal(ckpt.tensor(key), value) for key, value in vit.items())
    assert ckpt.sha256 == ""


def test_a_model_on_the_meta_device_has_names_and_shapes():
    with torch.device("meta"):
        model = timm.create_model("deit_tiny_patch16_224")
    ckpt = Checkpoint.from_state_dict(model.state_dict())
    assert ckpt.shape("pos_embed") == (1, 197, 192)
    assert ckpt.num_parameters == 5_717_416


def test_the_hash_is_that_of_the_file_and_waits_to_be_asked(saved, vit):
    path = saved(vit)
    ckpt = load(path)
    assert "sha256" not in vars(ckpt)
    assert ckpt.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_checkpoint_is_a_mapping_of_names(saved, vit):
    ckpt = load(saved(vit))
    assert len(ckpt) == len(vit)
    assert list(ckpt) == list(vit)
    assert "pos_embed" in ckpt
    assert ckpt.stored_key("pos_embed") == "pos_embed"


def test_hints_take_what_they_leave_open_from_weaker_ones():
    strong = Hints(num_heads=3, origins={"num_heads": "--num-heads"})
    weak = Hints(num_heads=6, ln_eps=1e-6, origins={"num_heads": "x", "ln_eps": "config.json"})
    both = strong.over(weak)
    assert (both.num_heads, both.ln_eps) == (3, 1e-6)
    assert both.origins == {"num_heads": "--num-heads", "ln_eps": "config.json"}


def test_every_module_of_the_formats_folder_registers_a_format():
    assert {name.rpartition(".")[2] for name in formats.modules()} == {
        entry if entry != "pickle" else "pickled" for entry in formats
    }


def test_at_most_one_format_claims_a_file(saved, vit, tmp_path):
    from safetensors.torch import save_file

    from pe_inspect.loading.byte_source import at
    from pe_inspect.loading.formats import SourceFile

    save_file(vit, tmp_path / "a.safetensors")
    np.save(tmp_path / "a.npy", np.ones((3, 4)))
    np.savez(tmp_path / "a.npz", a=np.ones((3, 4)))
    saved(vit, "zip.pth")
    saved(vit, "legacy.pth", _use_new_zipfile_serialization=False)
    for path in [*tmp_path.iterdir(), tmp_path]:
        claims = [f.name for f in formats.values() if f.recognises(SourceFile(at(path)))]
        assert len(claims) == 1, path
