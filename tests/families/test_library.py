"""Whose format a file has, as far as its config.json and the tensors beside the table tell."""

from __future__ import annotations

import json

import pytest
import timm
import torch
import transformers
from safetensors.torch import save_file

import pe_inspect as pei

SMALL = {"depth": 1, "embed_dim": 48, "num_heads": 3, "img_size": 56}
NAMES = "timm's names"  # what only the names of the blocks tell


def trunk(name="vit_small_patch14_dinov2"):
    return dict(timm.create_model(name, num_classes=0, **SMALL).state_dict())


def rule(path):
    (pe,) = pei.extract(pei.load(path))
    result = pei.interpolate(pe, grid=(5, 5))
    return pe.library, result.native, result.rules["native"]


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({}, (NAMES, "timm", "bicubic-aa")),
        ({"mask_token": torch.zeros(1, 48)}, ("dinov2", "dinov2", "scale-factor+0.1")),
        ({"mask_token": torch.zeros(1, 48), "register_tokens": torch.zeros(1, 4, 48)},
         ("dinov2-reg", "dinov2-reg", "bicubic-aa")),
        ({"mask_token": torch.zeros(1, 1, 48)}, (NAMES, "timm", "bicubic-aa")),  # SimMIM's, BEiT's
        ({"mask_token": torch.zeros(1, 1, 32), "decoder_pos_embed": torch.randn(1, 17, 32)},
         ("mae", "mae", "bicubic")),
    ],
)  # fmt: skip
def test_the_authors_files_hold_what_timm_s_do_not(more, told, tmp_path):
    torch.save({"model": {**trunk(), **more}}, tmp_path / "a.pth")
    assert rule(tmp_path / "a.pth") == told


def test_dinov2_s_teacher_is_not_dino_s(tmp_path):
    own = trunk()
    both = {part: {f"backbone.{k}": v for k, v in own.items()} for part in ("teacher", "student")}
    torch.save(both, tmp_path / "dino.pth")
    for state in both.values():
        state["backbone.mask_token"] = torch.zeros(1, 48)
    torch.save(both, tmp_path / "dinov2.pth")
    assert rule(tmp_path / "dino.pth") == (NAMES, "dino", "scale-factor+0.1")
    assert rule(tmp_path / "dinov2.pth") == ("dinov2", "dinov2", "scale-factor+0.1")


def test_timm_s_config_tells_timm_and_a_script_s_arguments_do_not(tmp_path):
    own = {key: value.contiguous() for key, value in trunk().items()}
    (tmp_path / "folder").mkdir()
    save_file(own, tmp_path / "folder" / "model.safetensors")
    config = {"architecture": "vit_small_patch14_dinov2", "model_args": SMALL}
    (tmp_path / "folder" / "config.json").write_text(json.dumps(config))
    torch.save({"model": own, "arch": "vit_small_patch14_dinov2"}, tmp_path / "a.pth")
    assert rule(tmp_path / "folder") == ("timm", "timm", "bicubic-aa")
    assert rule(tmp_path / "a.pth") == (NAMES, "dinov2", "scale-factor+0.1")


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_siglip_2_s_config_tells_its_rule(tmp_path):
    config = transformers.Siglip2VisionConfig(
        hidden_size=48, num_hidden_layers=1, num_attention_heads=3, intermediate_size=64,
        num_patches=16, patch_size=16,
    )  # fmt: skip
    transformers.Siglip2VisionModel(config).save_pretrained(tmp_path / "a")
    assert rule(tmp_path / "a") == (None, "siglip2", "bilinear-aa")


def test_a_merger_tells_qwen3_s_vit(tmp_path):
    more = {"depth": 1, "embed_dim": 48, "num_heads": 3}
    state = timm.create_model("qwen3_vit_88m_enc", **more).state_dict()
    save_file(state, tmp_path / "a.safetensors")
    assert rule(tmp_path / "a.safetensors") == ("qwen", "qwen", "bilinear-align-corners")


def test_a_saved_extraction_keeps_it_and_an_older_one_says_nothing(tmp_path):
    torch.save({**trunk(), "mask_token": torch.zeros(1, 48)}, tmp_path / "a.pth")
    (pe,) = pei.extract(pei.load(tmp_path / "a.pth"))
    path = pe.save(tmp_path / "a.pe.safetensors")
    assert pei.PositionEmbedding.open(path).library == "dinov2"
    path.write_bytes(without_library(path.read_bytes()))
    assert pei.PositionEmbedding.open(path).library is None


def without_library(saved):
    """As saved before there was such a field: the header names it `librarx`, which nobody reads."""
    return saved.replace(b'\\"library\\"', b'\\"librarx\\"')
