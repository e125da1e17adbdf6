"""What a config says against what the weights say, and what neither can tell."""

from __future__ import annotations

import argparse
import contextlib
import json
import re

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from pe_inspect.errors import AmbiguousCheckpoint, NoPositionEmbedding, UnreadableCheckpoint
from pe_inspect.families import extract
from pe_inspect.loading import Hints, load


@pytest.fixture
def folder(make, tmp_path):
    """Return a function that writes a DeiT with 3×4 patches, and a config.json beside it."""

    def write(config, **extra):
        state = make.deit() | {"pos_embed": make.rand(1, 13, 8)} | extra
        tensors = {key: torch.from_numpy(np.array(value)) for key, value in state.items()}
        save_file(tensors, tmp_path / "model.safetensors")
        (tmp_path / "config.json").write_text(json.dumps(config))
        return tmp_path

    return write


FITTING = {"image_size": [12, 16], "patch_size": 4, "hidden_size": 8, "num_hidden_layers": 3}


def test_a_config_that_fits_decides(folder):
    (pe,) = extract(load(folder(FITTING)))

    assert (pe.grid_size, pe.depth) == ((3, 4), 3)
    assert "grid 3×4 from img_size 12×16 (config.json)" in pe.notes


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (
            {"image_size": 24},
            "img_size 24×24 (config.json) gives a 6×6 grid of 36, and pos_embed has 13 rows: the "
            "config and the weights are of two models, or of two image sizes. To go by the "
            "weights: 1 prefix + 3×4, 4×3, 2×6, 6×2, 1×12, or 0 + 1×13. Each is chosen by",
        ),
        ({"num_hidden_layers": 12}, "it says 12 blocks, they have 3. One of the two is of another"),
        ({"hidden_size": 768}, "it says embed_dim 768, they have 8."),
        (
            {"hidden_size": 768, "num_hidden_layers": 12},
            "it says 12 blocks, they have 3; it says embed_dim 768, they have 8. One of the two",
        ),
    ],
)
def test_a_config_that_contradicts_the_weights_is_told_with_both_sides(folder, wrong, message):
    with pytest.raises(AmbiguousCheckpoint, match=re.escape(message)):
        extract(load(folder({**FITTING, **wrong})))


def test_a_flag_outranks_a_config_that_contradicts(folder):
    flags = Hints(grid_size=(4, 3), origins={"grid_size": "--grid-size"})
    (pe,) = extract(load(folder({**FITTING, "image_size": 24}), hints=flags))

    assert pe.grid_size == (4, 3)
    assert "grid 4×3 from --grid-size; img_size 24×24 (config.json) gives 6×6" in pe.notes


def test_a_window_that_is_not_the_config_s_is_told_with_both_sides(make, folder):
    tables = {f"blocks.{i}.attn.relative_position_bias_table": make.rand(38, 2) for i in range(3)}
    config = {**FITTING, "image_size": [24, 32]}
    path = folder(config, **tables)
    message = (
        "img_size 24×32 (config.json) gives a 6×8 grid, and "
        "blocks.0.attn.relative_position_bias_table has 38 rows, those of 3×4 or 4×3"
    )
    with pytest.raises(AmbiguousCheckpoint, match=re.escape(message)):
        extract(load(path, hints=Hints(family="relative_bias")))


def test_a_config_outranks_saved_arguments_and_a_note_tells(make, tmp_path):
    args = argparse.Namespace(join_type="share", layer_norm_eps=1e-5, patch_size=4)
    state = {k: torch.from_numpy(np.array(v)) for k, v in make.deit().items()}
    state["pos_embed"] = torch.zeros(1, 13, 8)
    torch.save({"model": state, "args": args}, tmp_path / "pytorch_model.bin")
    (tmp_path / "config.json").write_text(
        json.dumps({"model": {"join": "basic", "ln_eps": 1e-6, "img_size": [12, 16]}})
    )

    (pe,) = extract(load(tmp_path))

    assert (pe.join, pe.norms[0].eps) == ("input", 1e-6)
    assert "join input from config.json; args in the file says share" in pe.notes
    assert "ln_eps 1e-06 from config.json; args in the file says 1e-05" in pe.notes
    flags = Hints(join="share", origins={"join": "--join"})
    (pe,) = extract(load(tmp_path, hints=flags))
    assert pe.join == "share"
    assert "join share from --join; config.json says input" in pe.notes


def test_a_namespace_decides_what_keys_cannot_tell(make, tmp_path):
    state = {k: torch.from_numpy(np.array(v)) for k, v in make.deit().items()}
    state["pos_embed"] = torch.zeros(1, 17, 8)
    torch.save({"model": state, "args": argparse.Namespace(join_type="share")}, tmp_path / "x.pth")

    (pe,) = extract(load(tmp_path / "x.pth"))

    assert pe.join == "share"
    assert "join=share from args in the file" in pe.notes


def test_without_anybody_s_word_the_ordinary_join_is_taken_and_the_other_named(make):
    (pe,) = extract(make.checkpoint(make.deit() | {"pos_embed": make.rand(1, 17, 8)}))

    assert pe.join == "input"
    assert "join=input assumed: LaPE's share has the same keys (--join share)" in pe.notes


@pytest.mark.parametrize(
    ("extra", "note"),
    [
        ("blocks.{}.attn.q_bias", "EVA and EVA-02 have these keys"),
        ("blocks.{}.gamma_1", "DeiT-III and rope-vit's axial models with a table have these keys"),
        ("norm_pre.weight", "CLIP's ViT and Perception Encoder have these keys"),
    ],
)
def test_a_twin_that_also_rotates_is_named(make, extra, note):
    state = make.deit() | {"pos_embed": make.rand(1, 16, 8)}
    state |= {extra.format(i): make.rand(8) for i in range(3)}

    (pe,) = extract(make.checkpoint(state))
    assert any(said.startswith(note) and "--arch" in said for said in pe.notes)
    origins = {"arch": "args in the file"}
    (told,) = extract(make.checkpoint(state, arch="deit3_small_patch16_224", origins=origins))
    assert not any(said.startswith(note) for said in told.notes)


def test_a_shuffled_file_is_read_the_same(make):
    state = make.lape("lape", depth=12)
    plain, mixed = (
        extract(make.checkpoint(s, grid_size=(3, 4)))[0] for s in (state, make.shuffled(state))
    )

    assert [norm.path for norm in plain.norms] == [norm.path for norm in mixed.norms]
    for ours, theirs in zip(plain.norms, mixed.norms, strict=True):
        assert np.array_equal(ours.weight, theirs.weight)


def test_a_renamed_table_is_pointed_at_and_taken_when_it_is_named(make, tmp_path):
    state = make.deit() | {"where_am_i": make.rand(1, 17, 8)}
    tensors = {f"module.{k}": torch.from_numpy(np.array(v)) for k, v in state.items()}
    torch.save({"model": tensors}, tmp_path / "x.pth")

    message = (
        "Of the shape of a table: module.where_am_i (1, 17, 8). If it is one under another name, "
        "--state-dict-key module.where_am_i takes it for pos_embed."
    )
    with pytest.raises(NoPositionEmbedding, match=re.escape(message)):
        extract(load(tmp_path / "x.pth"))
    (pe,) = extract(load(tmp_path / "x.pth", state_dict_key="module.where_am_i"))
    assert (pe.grid_size, pe.num_prefix_rows, len(pe.norms)) == ((4, 4), 1, 7)
    assert "'module.where_am_i' is taken for pos_embed (--state-dict-key)" in pe.notes
    assert np.array_equal(pe.tables[0].values, state["where_am_i"][0])


@pytest.mark.parametrize(
    "tensors",
    [
        {"pos_embed.proj.weight": (8, 1, 3, 3), "pos_embed.proj.bias": (8,)},
        {"embeddings.position_ids": (1, 17)},
        {"decoder_pos_embed": (1, 17, 8)},
        {"text_model.embeddings.position_embedding.weight": (77, 8)},
        {"pos_embed": (8, 8, 8, 8)},
    ],
)
def test_keys_that_look_like_a_table_and_are_none(make, tensors):
    state = make.deit() | {key: make.rand(*shape) for key, shape in tensors.items()}
    found = ()
    with contextlib.suppress(NoPositionEmbedding):
        found = extract(make.checkpoint(state))
    assert not any(pe.kind == "vectors" for pe in found)


def test_an_adapter_says_whose_model_has_the_table(make, tmp_path):
    at = "base_model.model.vit.encoder.layer.0.attention.attention.query"
    lora = {f"{at}.lora_A.weight": (4, 8), f"{at}.lora_B.weight": (8, 4)}
    save_file(
        {key: torch.zeros(shape) for key, shape in lora.items()},
        tmp_path / "adapter_model.safetensors",
    )
    config = {"base_model_name_or_path": "google/vit-base-patch16-224", "r": 4}
    (tmp_path / "adapter_config.json").write_text(json.dumps(config))

    message = (
        "Adapter weights only (2 LoRA-like tensors): the position embedding is that of the model "
        "that they adapt (google/vit-base-patch16-224). Give that model, or merge them first"
    )
    with pytest.raises(NoPositionEmbedding, match=re.escape(message)):
        extract(load(tmp_path))


def test_a_quantised_table_is_refused(make):
    state = make.deit() | {"pos_embed": np.zeros((1, 17, 8), np.int8)}

    with pytest.raises(UnreadableCheckpoint, match=r"pos_embed of x\.pth holds int8 integers: the"):
        extract(make.checkpoint(state))


def test_a_table_stored_in_full_in_a_quantised_file_is_read_with_a_note(make, tmp_path):
    state = make.deit() | {"pos_embed": make.rand(1, 17, 8)}
    tensors = {key: torch.from_numpy(np.array(value)) for key, value in state.items()}
    tensors["blocks.0.attn.qkv.weight"] = tensors["blocks.0.attn.qkv.weight"].to(torch.int8)
    tensors["blocks.0.attn.qkv.SCB"] = torch.ones(24)
    torch.save(tensors, tmp_path / "x.pth")

    (pe,) = extract(load(tmp_path / "x.pth"))

    assert np.array_equal(pe.tables[0].values, state["pos_embed"][0])
    assert any(note.startswith("quantised by bitsandbytes (1 tensor") for note in pe.notes)


@pytest.mark.parametrize(
    ("said", "turns"),
    [
        ("rope_axial_ape_deit_small_patch16_LS", True),
        ("vit_small_patch16_rope_ape_224", True),
        ("deit_small_patch16_LS", False),
        ("somebody_s_rope_vit", False),
    ],
)
def test_the_arguments_of_rope_vit_s_script_tell_it_from_deit_iii(make, tmp_path, said, turns):
    state = make.deit(dim=384, depth=12, patch=(16, 16))
    state |= {f"blocks.{i}.gamma_1": make.rand(384) for i in range(12)}
    state |= {"pos_embed": make.rand(1, 196, 384)}
    tensors = {key: torch.from_numpy(np.array(value)) for key, value in state.items()}
    torch.save({"model": tensors, "args": argparse.Namespace(model=said)}, tmp_path / "x.pth")

    found = extract(load(tmp_path / "x.pth"))

    assert [pe.family for pe in found] == ["learned_absolute", *(["rotary"] if turns else [])]
    if turns:
        assert found[1].grid_size == (14, 14)
        assert any(note.startswith("computed from args in the file") for note in found[1].notes)
