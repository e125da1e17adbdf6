"""What a config.json or saved arguments say, and who outranks whom."""

from __future__ import annotations

import argparse
import json

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file

from pe_inspect.loading import Hints, load
from pe_inspect.loading.hints import hints_from


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("basic", "input"),
        ("share", "share"),
        ("unshare", "unshare"),
        ("LaPE", "lape"),
        ("LN", "lape"),
        ("something else", None),
        (3, None),
    ],
)
def test_lapes_words_for_joins_are_understood(said, meant):
    assert hints_from({"join_type": said}, "args").join == meant


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        (224, (224, 224)),
        ("224", (224, 224)),
        ([48, 64], (48, 64)),
        ((3, 48, 64), (48, 64)),
        ({"height": 48, "width": 64}, (48, 64)),
        ([224], (224, 224)),
        (None, None),
        (0, None),
        (-3, None),
        (True, None),
        ("big", None),
        ([], None),
        ([None, 3], None),
        ({"shortest_edge": 224}, None),
    ],
)
def test_an_image_size_is_read_in_every_usual_form(said, meant):
    for key in ("img_size", "image_size", "input_size"):
        assert hints_from({key: said}, "config.json").img_size == meant


def test_lapes_arguments_become_hints(saved, vit):
    args = argparse.Namespace(
        model="deit_tiny_patch16_224", pe="learnable", join_type="LaPE", input_size=224, lr=0.1
    )
    hints = load(saved({"model": vit, "args": args})).hints
    assert (hints.join, hints.pe, hints.arch) == ("lape", "learnable", "deit_tiny_patch16_224")
    assert hints.img_size == (224, 224)
    assert set(hints.origins.values()) == {"args in the file"}


def test_timms_training_files_say_their_architecture(saved, vit):
    args = argparse.Namespace(model="vit_tiny_patch16_224", img_size=None, input_size=(3, 48, 64))
    contents = {"state_dict": vit, "arch": "vit_tiny_patch16_224", "args": args, "epoch": 1}
    hints = load(saved(contents)).hints
    assert hints.arch == "vit_tiny_patch16_224"
    assert hints.img_size == (48, 64)
    assert load(saved({"state_dict": vit, "arch": "deit_s"})).hints.origins["arch"] == "the file"


def test_a_hugging_face_config_is_read(vit, tmp_path):
    from transformers import ViTConfig

    ViTConfig(image_size=96, patch_size=8, num_attention_heads=4).save_pretrained(tmp_path)
    save_file(vit, tmp_path / "model.safetensors")
    hints = load(tmp_path).hints
    assert hints.img_size == (96, 96)
    assert hints.patch_size == (8, 8)
    assert hints.num_heads == 4
    assert hints.ln_eps == 1e-12
    assert hints.origins["ln_eps"] == "config.json"


def test_of_two_towers_the_config_of_the_chosen_one_counts(tmp_path):
    from transformers import CLIPConfig, CLIPModel

    common = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    text = {**common, "intermediate_size": 32, "vocab_size": 30, "num_attention_heads": 4}
    vision = {**common, "intermediate_size": 32, "image_size": 48, "patch_size": 16}
    CLIPModel(CLIPConfig(text_config=text, vision_config=vision)).save_pretrained(tmp_path)
    ckpt = load(tmp_path)
    assert ckpt.shape("embeddings.position_embedding.weight") == (10, 16)
    assert (ckpt.hints.img_size, ckpt.hints.num_heads) == ((48, 48), 2)
    other = load(tmp_path, tower="text")
    assert other.shape("embeddings.position_embedding.weight") == (77, 16)
    assert (other.hints.img_size, other.hints.num_heads) == (None, 4)


def test_a_timm_config_is_read(vit, tmp_path):
    save_file(vit, tmp_path / "model.safetensors")
    config = {
        "architecture": "vit_tiny_patch16_224",
        "num_features": 192,
        "model_args": {"img_size": [48, 64]},
        "pretrained_cfg": {"input_size": [3, 224, 224]},
    }
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert load(tmp_path).hints.img_size == (48, 64)
    assert load(tmp_path).hints.arch == "vit_tiny_patch16_224"
    del config["model_args"]
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert load(tmp_path).hints.img_size == (224, 224)


def test_what_timm_saves_for_the_hub_is_read(tmp_path):
    model = timm.create_model("vit_tiny_patch16_224", img_size=(48, 64), depth=2)
    timm.models.save_for_hf(model, tmp_path, model_args={"img_size": (48, 64), "depth": 2})
    ckpt = load(tmp_path)
    assert np.array_equal(ckpt.tensor("pos_embed"), model.pos_embed.detach().numpy())
    assert ckpt.hints.arch == "vit_tiny_patch16_224"
    assert ckpt.hints.img_size == (48, 64)


def test_our_own_trainers_config_is_read_and_found_beside_the_file(vit, tmp_path):
    save_file(vit, tmp_path / "model.safetensors")
    model = {"img_size": [48, 64], "patch_size": [16, 8], "num_heads": 3, "join": "lape"}
    model |= {"scheme": "learned", "ln_eps": 1e-6, "embed_dim": 192, "depth": 2}
    (tmp_path / "config.json").write_text(json.dumps({"recipe": "digits-lape", "model": model}))
    for source in (tmp_path, tmp_path / "model.safetensors"):
        hints = load(source).hints
        assert (hints.img_size, hints.patch_size) == ((48, 64), (16, 8))
        assert (hints.num_heads, hints.join, hints.ln_eps) == (3, "lape", 1e-6)
    assert "config.json beside model.safetensors was read" in load(source).notes


@pytest.mark.parametrize("name", ["best.safetensors", "resume.safetensors"])
def test_what_our_trainer_saves_beside_the_last_weights_has_their_config(vit, tmp_path, name):
    about = {"pe_inspect": json.dumps({"recipe": {}})} if name.startswith("resume") else {}
    stem = "model." if about else ""
    save_file({f"{stem}{key}": value for key, value in vit.items()}, tmp_path / name, about)
    config = {"recipe": {"name": "mine"}, "model": {"join": "share", "num_heads": 3}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert (load(tmp_path / name).hints.join, load(tmp_path / name).hints.num_heads) == ("share", 3)
    (tmp_path / "config.json").write_text('{"patch_size": 16}')
    assert load(tmp_path / name).hints.patch_size is None


def test_a_config_beside_a_file_of_another_name_is_not_its_own(vit, tmp_path):
    save_file(vit, tmp_path / "some_weights.safetensors")
    (tmp_path / "config.json").write_text('{"patch_size": 16}')
    assert load(tmp_path / "some_weights.safetensors").hints.patch_size is None


def test_flags_outrank_the_config_which_outranks_the_file(vit, tmp_path):
    contents = {"model": vit, "args": argparse.Namespace(patch_size=4, num_heads=2, join="share")}
    torch.save(contents, tmp_path / "pytorch_model.bin")
    (tmp_path / "config.json").write_text('{"patch_size": 8, "num_heads": 3}')
    flags = Hints(patch_size=(16, 16), origins={"patch_size": "--patch-size"})
    hints = load(tmp_path, hints=flags).hints
    assert (hints.patch_size, hints.num_heads, hints.join) == ((16, 16), 3, "share")
    assert hints.origins == {
        "patch_size": "--patch-size",
        "num_heads": "config.json",
        "join": "args in the file",
    }


@pytest.mark.parametrize(
    "settings",
    [
        {"num_heads": [3, 6, 12], "patch_size": "sixteen", "layer_norm_eps": 3, "model": 7},
        {"model": {"img_size": {"a": 1}}, "vision_config": [1], "rope_theta": "x"},
        {"layer_norm_eps": float("nan"), "arch": "", "join": None},
    ],
)
def test_settings_that_make_no_sense_are_passed_over(settings):
    assert hints_from(settings, "config.json") == Hints()


@pytest.mark.parametrize(
    "settings", [{"rope_theta": 100.0}, {"rope_parameters": {"rope_theta": 100}}]
)
def test_a_rotary_base_is_read(settings):
    assert hints_from(settings, "config.json").rope_theta == 100.0
