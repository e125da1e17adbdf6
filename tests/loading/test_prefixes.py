"""Wrapper prefixes come off down to the trunk's own names, and nothing is lost on the way."""

from __future__ import annotations

import numpy as np
import pytest
import timm
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pe_inspect.errors import UsageError
from pe_inspect.loading import Checkpoint, load
from pe_inspect.loading.prefixes import WRAPPERS, find_trunk

ORDINARY = [w for w in WRAPPERS if not w.startswith("text")]


def _tensors(names):
    zeros = {name: np.full((2,), i, dtype=np.float32) for i, name in enumerate(names)}
    return dict(Checkpoint.from_state_dict(zeros).tensors)


def _stripped(names, tower=None):
    found, notes = find_trunk(_tensors(names), tower)
    return {key: tensor.key for key, tensor in found.items()}, notes


@pytest.mark.parametrize("prefix", ORDINARY)
def test_each_wrapper_comes_off(prefix, saved, vit):
    ckpt = load(saved({f"{prefix}{key}": value for key, value in vit.items()}))
    assert ckpt.keys == tuple(vit)
    assert ckpt.stored_key("pos_embed") == f"{prefix}pos_embed"
    assert ckpt.notes == (f"stripped {prefix!r} from the stored names",)


@settings(max_examples=60)
@given(stack=st.lists(st.sampled_from(ORDINARY), max_size=4))
def test_stacked_wrappers_come_off_and_every_tensor_stays(stack):
    names = ["pos_embed", "cls_token", "patch_embed.proj.weight", "blocks.0.norm1.weight"]
    prefix = "".join(stack)
    found, _ = _stripped([prefix + name for name in names])
    assert found == {name: prefix + name for name in names}


@pytest.mark.parametrize(
    "name",
    ["vit_tiny_patch16_224", "swin_tiny_patch4_window7_224", "beit_base_patch16_224", "pit_ti_224"],
)
def test_timms_own_names_are_left_alone(name):
    with torch.device("meta"):
        names = list(timm.create_model(name).state_dict())
    found, notes = _stripped(names)
    assert list(found) == names
    assert notes == ()
    wrapped, _ = _stripped([f"module.model.{key}" for key in names])
    assert list(wrapped) == names


def test_torchvisions_encoder_is_part_of_the_trunk():
    from torchvision.models import VisionTransformer

    model = VisionTransformer(32, 8, 2, 2, 16, 32, num_classes=3)
    names = list(model.state_dict())
    assert list(_stripped(names)[0]) == names
    assert list(_stripped([f"module.{name}" for name in names])[0]) == names
    partial = [name for name in names if name.startswith("encoder.")]
    assert list(_stripped(partial)[0]) == partial


def test_hugging_faces_encoder_is_part_of_the_trunk(tmp_path):
    from transformers import (
        ViTConfig,
        ViTForImageClassification,
        ViTMAEConfig,
        ViTMAEForPreTraining,
    )

    small = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    small |= {"intermediate_size": 32, "image_size": 32, "patch_size": 8}
    ViTForImageClassification(ViTConfig(**small)).save_pretrained(tmp_path / "vit")
    vit = load(tmp_path / "vit")
    assert vit.stored_key("embeddings.position_embeddings") == "vit.embeddings.position_embeddings"
    assert vit.stored_key("classifier.weight") == "classifier.weight"
    assert any(key.startswith("encoder.layer.0.") for key in vit.keys)
    config = ViTMAEConfig(**small, decoder_hidden_size=16)
    ViTMAEForPreTraining(config).save_pretrained(tmp_path / "mae")
    mae = load(tmp_path / "mae")
    assert mae.stored_key("embeddings.position_embeddings") == "vit.embeddings.position_embeddings"
    assert mae.stored_key("decoder.decoder_pos_embed") == "decoder.decoder_pos_embed"
    assert "stripped 'vit.' from the stored names" in mae.notes


@pytest.mark.parametrize(
    "names",
    [
        ["embedding.pos_embedding", "embedding.cls_tokens", "encoder.0.norm1.weight"],
        ["encoder.0.norm1.weight", "encoder.1.norm1.weight", "norm.weight"],
        ["encoder.layer.0.layernorm_before.weight", "embeddings.cls_token"],
        ["encoder.layers.0.layer_norm1.weight", "embeddings.class_embedding"],
    ],
)
def test_an_encoder_of_the_trunk_itself_stays(names):
    assert list(_stripped(names)[0]) == names


def test_a_trunk_as_somebodys_encoder_is_found():
    names = ["encoder.pos_embedding", "encoder.cls_token", "encoder.to_patch_embedding.1.weight"]
    decoder = ["decoder.layers.0.0.norm.weight", "decoder_pos_emb.weight", "to_pixels.weight"]
    found, _ = _stripped(names + decoder)
    assert list(found)[:3] == [name.removeprefix("encoder.") for name in names]
    assert set(decoder) <= set(found)


def test_a_decoders_names_do_not_overwrite_the_trunks():
    trunk = ["pos_embed", "cls_token", "patch_embed.proj.weight", "blocks.0.norm1.weight"]
    mae = [*trunk, "decoder_pos_embed", "decoder_blocks.0.norm1.weight", "mask_token"]
    assert list(_stripped(mae)[0]) == mae
    detector = [f"backbone.{name}" for name in trunk] + ["neck.pos_embed", "roi_heads.norm.weight"]
    found, _ = _stripped(detector)
    assert found["pos_embed"] == "backbone.pos_embed"
    assert found["neck.pos_embed"] == "neck.pos_embed"


def test_a_collision_is_told_and_the_trunks_tensor_wins():
    names = ["norm.weight", "backbone.norm.weight", "backbone.pos_embed", "backbone.cls_token"]
    found, notes = _stripped(names)
    assert found["norm.weight"] == "backbone.norm.weight"
    assert notes[1] == (
        "left out norm.weight, which collide with names under 'backbone.' "
        "(--state-dict-key chooses)"
    )


def test_of_two_copies_of_one_model_the_ordinary_one_is_taken():
    names = ["pos_embed", "cls_token", "blocks.0.norm1.weight"]
    both = [
        f"module.{copy}.{name}" for copy in ("momentum_encoder", "base_encoder") for name in names
    ]
    found, notes = _stripped([*both, "module.predictor.0.weight"])
    assert found["pos_embed"] == "module.base_encoder.pos_embed"
    assert "took 'base_encoder'; also present: 'momentum_encoder'" in notes[1]
    assert not any("momentum" in key for key in found)


OPENAI_CLIP = [
    *("positional_embedding", "text_projection", "logit_scale", "token_embedding.weight"),
    *("visual.class_embedding", "visual.positional_embedding", "visual.conv1.weight"),
    *("visual.transformer.resblocks.0.ln_1.weight", "visual.ln_pre.weight"),
    *("transformer.resblocks.0.ln_1.weight", "ln_final.weight"),
]
HF_CLIP = [
    *("text_model.embeddings.position_embedding.weight", "text_model.encoder.layers.0.ln.weight"),
    *("vision_model.embeddings.position_embedding.weight", "vision_model.pre_layrnorm.weight"),
    *("vision_model.encoder.layers.0.layer_norm1.weight", "logit_scale"),
]
OPEN_CLIP_TIMM = [
    *("visual.trunk.pos_embed", "visual.trunk.blocks.0.norm1.weight", "visual.head.proj.weight"),
    *("text.positional_embedding", "text.token_embedding.weight", "logit_scale"),
]


@pytest.mark.parametrize("wrapper", ["", "module.", "model."])
@pytest.mark.parametrize(
    ("names", "table"),
    [
        (OPENAI_CLIP, "positional_embedding"),
        (HF_CLIP, "embeddings.position_embedding.weight"),
        (OPEN_CLIP_TIMM, "pos_embed"),
    ],
)
def test_of_two_towers_the_vision_tower_is_taken_with_a_note(names, table, wrapper):
    found, notes = _stripped([wrapper + name for name in names])
    assert "vis" in found[table]
    assert not any("text_model" in stored or "token_embed" in stored for stored in found.values())
    assert any("took the vision tower" in note and "--tower text" in note for note in notes)


@pytest.mark.parametrize(
    ("names", "table", "stored"),
    [
        (OPENAI_CLIP, "positional_embedding", "positional_embedding"),
        (
            HF_CLIP,
            "embeddings.position_embedding.weight",
            "text_model.embeddings.position_embedding.weight",
        ),
        (OPEN_CLIP_TIMM, "positional_embedding", "text.positional_embedding"),
    ],
)
def test_the_text_tower_is_taken_when_asked_for(names, table, stored):
    found, notes = _stripped(names, tower="text")
    assert found[table] == stored
    assert not any("vis" in name for name in found.values())
    assert any("took the text tower" in note for note in notes)


def test_asking_for_a_tower_that_is_not_there_is_a_usage_error():
    with pytest.raises(UsageError, match=r"one tower only\. Leave --tower out"):
        _stripped(["pos_embed", "cls_token"], tower="text")
    with pytest.raises(UsageError, match=r"Unknown tower 'audio'. Known: text, vision"):
        _stripped(["pos_embed"], tower="audio")
    assert list(_stripped(["pos_embed"], tower="vision")[0]) == ["pos_embed"]


def test_sams_image_encoder_is_the_trunk():
    names = ["image_encoder.pos_embed", "image_encoder.patch_embed.proj.weight"]
    others = [
        "prompt_encoder.pe_layer.positional_encoding_gaussian_matrix",
        "mask_decoder.x.weight",
    ]
    found, _ = _stripped(names + others)
    assert found["pos_embed"] == "image_encoder.pos_embed"
    assert set(others) <= set(found)


def test_a_convolutional_network_loses_its_wrapper_too():
    names = ["module.conv1.weight", "module.layer1.0.conv1.weight", "module.fc.weight"]
    assert list(_stripped(names)[0]) == ["conv1.weight", "layer1.0.conv1.weight", "fc.weight"]


@settings(max_examples=80)
@given(
    names=st.lists(
        st.lists(
            st.sampled_from(
                ["module", "model", "encoder", "visual", "text", "pos_embed", "0", "x"]
            ),
            min_size=1,
            max_size=4,
        ).map(".".join),
        min_size=1,
        max_size=8,
        unique=True,
    )
)
def test_no_tensor_is_ever_lost_without_a_note(names):
    found, notes = _stripped(names)
    told = any(word in note for note in notes for word in ("left out", "also present"))
    assert set(found.values()) <= set(names)
    assert len(set(found.values())) == len(found)
    assert told or len(found) == len(names)
