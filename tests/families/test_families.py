"""The room itself: what is registered, what `extract` adds, what it says of an empty file."""

from __future__ import annotations

import hashlib
import re
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import timm

from pe_inspect.errors import AmbiguousCheckpoint, NoPositionEmbedding, UnfitShapes, UsageError
from pe_inspect.families import extract, families
from pe_inspect.families.trunk import Trunk
from pe_inspect.loading import load
from pe_inspect.loading.checkpoint import Checkpoint, Hints, StoredTensor

NAMES = {
    "learned_absolute",
    "relative_bias",
    "rotary",
    "shaw_relative",
    "sinusoidal_1d",
    "sinusoidal_2d",
}


def test_every_scheme_is_registered_under_its_own_name_and_says_what_it_looks_for():
    assert set(families) >= NAMES
    for name, family in families.items():
        assert family.name == name
        assert len(family.looks_for) > 20
        assert family.example


def test_every_module_of_the_folder_registers_one_scheme():
    assert {module.rpartition(".")[2] for module in families.modules()} == set(families)


def test_provenance_is_added_to_what_a_scheme_extracts(make, tmp_path):
    weights = tmp_path / "x.pth"
    weights.write_bytes(b"the weights")
    checkpoint = replace(
        make.checkpoint(make.lape("input"), grid_size=(3, 4)),
        path=weights,
        notes=("took 'model'; also present: 'model_ema'",),
    )

    (pe,) = extract(checkpoint)
    (unhashed,) = extract(checkpoint, with_sha256=False)

    assert pe.source == "x.pth"
    assert pe.sha256 == hashlib.sha256(b"the weights").hexdigest()
    assert pe.notes[0] == "took 'model'; also present: 'model_ema'"
    assert unhashed.sha256 == ""


def test_a_saved_extraction_is_reopened(make, tmp_path):
    (pe,) = extract(make.checkpoint(make.lape("lape"), grid_size=(3, 4)))
    path = pe.save(tmp_path / "x.pe.safetensors")

    (again,) = extract(Checkpoint("x.pe.safetensors", path, "pe", {}))

    assert (again.family, again.join, again.notes) == (pe.family, pe.join, pe.notes)
    np.testing.assert_array_equal(again.tables[0].values, pe.tables[0].values)


def test_every_extraction_survives_being_saved(make, tmp_path):
    for kind in ("learn", "sinusoidal", "relative", "rope"):
        (pe,) = extract(make.checkpoint(make.schh(kind), grid_size=(3, 4)))
        again = type(pe).open(pe.save(tmp_path / f"{kind}.pe.safetensors"))
        for ours, theirs in zip(pe.tables, again.tables, strict=True):
            assert (ours.name, ours.grid_size) == (theirs.name, theirs.grid_size)
            np.testing.assert_array_equal(ours.values, theirs.values)


def test_family_restricts_to_one_scheme(make):
    state = timm.create_model(
        "vit_small_patch16_rope_mixed_ape_224", depth=1, embed_dim=32, num_heads=2, img_size=48
    ).state_dict()

    (pe,) = extract(make.checkpoint(state, family="rotary"))

    assert pe.family == "rotary"


def test_an_unknown_family_offers_the_nearest(make):
    with pytest.raises(UsageError, match=r"Unknown family 'rotarry'\. Did you mean 'rotary'"):
        extract(make.checkpoint(make.lape("input"), family="rotarry"))


def test_a_family_that_is_not_there_names_those_that_are(make):
    message = "It does hold learned_absolute: leave --family out, or name that."
    with pytest.raises(NoPositionEmbedding, match=message):
        extract(make.checkpoint(make.lape("input"), grid_size=(3, 4), family="rotary"))


def refusal(make, state, **hints):
    with pytest.raises(NoPositionEmbedding) as caught:
        extract(make.checkpoint(state, **hints))
    return str(caught.value)


def test_the_message_says_what_was_looked_for_and_what_the_file_holds(make):
    lines = refusal(make, {"conv.weight": make.rand(4, 3, 3, 3), "bn.running_mean": make.rand(4)})

    first, verdict, contents = lines.splitlines()
    listed = re.escape(", ".join(sorted(families)))
    assert re.fullmatch(
        rf"No position embedding in x\.pth \(2 tensors\)\. Looked for: {listed}; "
        r"`pe-inspect families` says what each looks for\.",
        first,
    )
    assert (
        verdict == "None: this looks like a convolutional network, which has no position embedding."
    )
    assert contents == "The file holds conv (1), bn (1)."


@pytest.mark.parametrize(
    ("name", "verdict"),
    [
        ("resnet18", "None: this looks like a convolutional network"),
        ("mixer_s32_224", "None: this looks like a mixing network"),
        ("pvt_v2_b0", "None stored: position comes from zero-padded convolutions"),
        (
            "vit_small_patch16_rope_224",
            "Not stored: it looks like a rotary model (rope-vit); pass --arch",
        ),
        ("vit_small_patch16_dinov3", "Not stored: it looks like a rotary model (DINOv3"),
        (
            "vit_medium_patch16_rope_reg1_gap_256",
            "Not stored: it looks like a rotary model, with register tokens",
        ),
        ("convnext_atto", "None: this looks like a convolutional network"),
        ("vgg11", "None: this looks like a convolutional network"),
        ("caformer_s18", "None: attention over convolutional features, without a position"),
        ("mobilevit_xxs", "None: attention over convolutional features, without a position"),
        ("sequencer2d_s", "None: this looks like a mixing network"),
    ],
)
def test_not_stored_is_told_from_none(make, name, verdict):
    import torch

    with torch.device("meta"):
        state = timm.create_model(name).state_dict()
    state = {key: np.empty(tuple(value.shape), dtype=bool) for key, value in state.items()}

    assert verdict in refusal(make, state)


def test_a_scheme_that_is_not_read_is_not_called_none(make):
    state = make.deit() | {"blocks.0.attn.relative_position_wave": make.rand(3, 3)}

    assert "It keeps position in a scheme that this version does not read: " in refusal(make, state)


def test_hugging_face_s_dinov3_stores_nothing(make):
    from transformers import DINOv3ViTConfig, DINOv3ViTModel

    config = DINOv3ViTConfig(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        image_size=48,
        patch_size=16,
        num_register_tokens=4,
    )

    text = refusal(make, DINOv3ViTModel(config).state_dict())

    assert "Not stored: it looks like a rotary model (DINOv3" in text


def test_nda111_s_embedding_was_never_saved_and_the_message_says_why(make):
    text = refusal(make, make.nda111())

    assert (
        "Not stored: this is nda111's ViT, whose pos_embed is a plain tensor attribute, neither a "
        "parameter nor a buffer. So it is not in the state dict, and it was never trained." in text
    )


def test_simple_vit_recomputes_its_table(make):
    state = {
        "to_patch_embedding.1.weight": make.rand(8),
        "transformer.layers.0.0.to_qkv.weight": make.rand(24, 8),
    }

    assert "lucidrains' SimpleViT, which recomputes a fixed table" in refusal(make, state)


def test_s_chh_s_kind_none_has_no_position_at_all(make):
    text = refusal(make, make.schh("none"))

    assert "None: this is s-chh's ViT of kind `none`, a Vision Transformer with no position" in text


def test_a_plain_vit_without_a_table_is_not_called_convolutional(make):
    text = refusal(make, make.deit())

    assert re.search(
        "A transformer without any position tensor: it has none, or its code comp", text
    )


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("pos_embed", ()),
        ("pos_embed", (7,)),
        ("pos_embed", (1, 0, 8)),
        ("freqs", ()),
        ("freqs", (3, 3)),
        ("blocks.0.attn.relative_position_bias_table", (2, 3)),
        ("blocks.0.attn.relative_position_bias_table", (49,)),
    ],
)
def test_a_known_name_on_something_of_another_shape_is_not_mistaken(make, name, shape):
    refusal(make, {name: make.unread(*shape), "other.weight": make.rand(2, 2)})


def test_a_file_of_many_parts_is_summed_up(make):
    text = refusal(make, {f"part{i}.weight": make.rand(2, 2) for i in range(9)})

    assert "None of its names is one that a Vision Transformer's position embedding has." in text
    assert text.endswith("and 3 more parts.")


ZOO = Path(__file__).parents[2] / "checkpoints"
SHAPES = [(), (7,), (5, 3), (0, 64), (64, 2), (1, 1, 1), (2, 3, 5, 7), (1, 2, 3, 4, 5)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", ["rope-axial", "relative", "fourier", "rel-bias-mlp", "peg"])
def test_a_scheme_s_names_with_other_shapes_are_an_error_of_the_checkpoint_s(name, shape):
    checkpoint = load(ZOO / f"zoo-{name}")
    key = extract(checkpoint, with_sha256=False)[0].keys[0]
    other = StoredTensor(key, shape, "float32", lambda: np.ones(shape, np.float32))
    trunk = Trunk(replace(checkpoint, path=None, tensors={**checkpoint.tensors, key: other}))
    for family in families.values():
        with suppress(AmbiguousCheckpoint):
            _ = family.detect(trunk) and family.extract(trunk)


def test_what_a_scheme_does_not_fit_is_said_with_the_scheme_s_name():
    state = {
        f"blocks.0.attn.{name}": np.ones(3, "f4") for name in ("pos_proj.bias", "gating_param")
    }
    state["blocks.0.attn.pos_proj.weight"] = np.ones((4, 3), "f4")
    with pytest.raises(UnfitShapes, match=r"names of gated_positional .* \(heads, 3\), \(heads\)"):
        extract(Checkpoint.from_state_dict(state, hints=Hints(grid_size=(2, 3))))
