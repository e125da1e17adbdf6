"""Norms get timm's names and their block's place, whatever the file's names and order."""

from __future__ import annotations

import numpy as np
import pytest
import timm
import torch

from pe_inspect.families import extract


def norms_of(make, state, **hints):
    return extract(make.checkpoint(state, **hints))[0].norms


def test_blocks_are_ordered_by_parsed_index_and_never_by_the_file(make):
    state = make.shuffled(make.lape("lape", depth=13))

    norms = norms_of(make, state, grid_size=(3, 4))

    names = ("pe_norm", "norm1", "norm2")
    expected = [f"blocks.{i}.{name}" for i in range(13) for name in names]
    assert [norm.path for norm in norms] == [*expected, "norm"]
    for norm in norms:
        np.testing.assert_array_equal(norm.weight, state[f"{norm.path}.weight"])
        np.testing.assert_array_equal(norm.bias, state[f"{norm.path}.bias"])


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "vit_base_patch32_clip_quickgelu_224",
            ["norm_pre", "blocks.0.norm1", "blocks.0.norm2", "norm"],
        ),
        ("vit_base_patch16_xp_224", ["norm_pre", "blocks.0.norm1", "norm"]),
        (
            "beit3_base_patch16_224",
            [
                "blocks.0.norm1",
                "blocks.0.attn.norm",
                "blocks.0.norm2",
                "blocks.0.mlp.norm",
                "fc_norm",
            ],
        ),
    ],
)
def test_timm_s_variants(make, name, expected):
    model = timm.create_model(
        name, depth=1, embed_dim=16, num_heads=2, img_size=(48, 64), patch_size=16
    )

    norms = norms_of(make, model.state_dict(), img_size=(48, 64))

    assert [n.path for n in norms if not n.name.endswith(("q_norm", "k_norm"))] == expected


def test_an_rms_norm_has_no_bias(make):
    model = timm.create_model(
        "aimv2_large_patch14_224", depth=1, embed_dim=16, num_heads=2, img_size=42
    )

    norms = norms_of(make, model.state_dict())

    paths = ["patch_embed.norm", "blocks.0.norm1", "blocks.0.norm2", "norm"]
    assert [norm.path for norm in norms] == paths
    assert all(norm.bias is None for norm in norms)


def test_batch_norms_layer_scales_and_decoders_are_not_norms_of_the_trunk(make):
    state = make.lape("input") | {
        **make.norm("stem.bn", 8),
        "stem.bn.running_mean": make.rand(8),
        "blocks.0.ls1.gamma": make.rand(8),
        "blocks.0.gamma_1": make.rand(8),
        **make.norm("decoder_blocks.0.norm1", 8),
        **make.norm("decoder.layers.0.norm1", 8),
    }

    paths = [norm.path for norm in norms_of(make, state, grid_size=(3, 4))]

    assert paths == [f"blocks.{i}.norm{j}" for i in range(3) for j in (1, 2)] + ["norm"]


def test_a_pair_of_the_trunk_s_width_keeps_its_own_name(make):
    state = make.lape("input") | make.norm("neck.0", 8) | make.norm("odd.0", 5)

    paths = [norm.path for norm in norms_of(make, state, grid_size=(3, 4))]

    assert "neck.0" in paths
    assert "odd.0" not in paths


def test_dinov2_s_chunked_blocks_keep_their_global_index(make):
    state = {
        key.replace("blocks.2.", "blocks.1.2.").replace("blocks.0.", "blocks.0.0."): value
        for key, value in make.lape("input").items()
        if "blocks.1." not in key
    } | make.norm("blocks.0.1.norm1", 8)

    paths = [norm.path for norm in norms_of(make, state, grid_size=(3, 4))]

    assert paths == [
        "blocks.0.norm1",
        "blocks.0.norm2",
        "blocks.1.norm1",
        "blocks.2.norm1",
        "blocks.2.norm2",
        "norm",
    ]


TWINS = [f"twins_{kind}_{size}" for kind in ("pcpvt", "svt") for size in ("small", "base", "large")]


@pytest.mark.parametrize("name", TWINS)
def test_the_stages_of_twins_are_no_chunks_for_their_blocks_are_counted_anew(make, name):
    with torch.device("meta"):
        model = timm.create_model(name)
    state = {key: make.unread(*value.shape) for key, value in model.state_dict().items()}

    (pe,) = extract(make.checkpoint(state))

    modules = model.blocks.named_modules()
    expected = {f"blocks.{path}" for path, each in modules if isinstance(each, torch.nn.LayerNorm)}
    assert {norm.path for norm in pe.norms if norm.layer} == expected
    assert [n.layer for n in pe.norms if n.name == "norm1"] == [
        f"blocks.{stage}.{block}"
        for stage, blocks in enumerate(model.blocks)
        for block in range(len(blocks))
    ]
    assert pe.depth == sum(map(len, model.blocks))
    assert not any("holds nothing" in note for note in pe.notes)


def test_the_blocks_of_visformer_s_stages_are_counted(make):
    with torch.device("meta"):
        model = timm.create_model("visformer_tiny")
    state = {key: make.unread(*value.shape) for key, value in model.state_dict().items()}

    found = extract(make.checkpoint(state))

    blocks = sum(map(len, (model.stage1, model.stage2, model.stage3)))
    assert [pe.depth for pe in found] == [blocks] * 3


def test_eps_is_assumed_by_library_and_said(make):
    (pe,) = extract(make.checkpoint(make.lape("input"), grid_size=(3, 4)))

    assert {norm.eps for norm in pe.norms} == {1e-6}
    assert "eps 1e-06 assumed (no checkpoint stores it): --ln-eps" in pe.notes


def test_what_is_said_of_eps_outranks_the_library(make):
    def notes_and_eps(**hints):
        (pe,) = extract(make.checkpoint(make.lape_rpe(normed=True), grid_size=(3, 4), **hints))
        eps = {norm.name: norm.eps for norm in pe.norms}
        return pe.notes, eps["norm1"], eps["attn.pe_norm"]

    notes, model, over_keys = notes_and_eps(ln_eps=1e-3)
    assert (model, over_keys) == (1e-3, 1e-3)
    assert "eps 0.001 from --ln-eps" in notes

    notes, model, over_keys = notes_and_eps(ln_eps=1e-3, origins={"ln_eps": "config.json"})
    assert (model, over_keys) == (1e-3, 1e-5)
    assert "eps 0.001 from config.json" in notes


def test_a_block_that_the_file_has_lost_is_noted_and_does_not_move_its_neighbours(make):
    state = {k: v for k, v in make.lape("input").items() if not k.startswith("blocks.1.")}

    (pe,) = extract(make.checkpoint(state, grid_size=(3, 4)))

    assert pe.depth == 3
    assert list(pe.norms_named("norm1")) == ["blocks.0", "blocks.2"]
    assert "the file holds nothing of blocks 1" in pe.notes


def test_only_the_table_and_the_norms_are_read(make):
    from dataclasses import replace

    from pe_inspect.loading.checkpoint import Checkpoint

    read = []
    whole = make.checkpoint(make.lape("lape"), grid_size=(3, 4))

    def spied(key, tensor):
        def reading():
            read.append(key)
            return tensor.read()

        return replace(tensor, read=reading)

    tensors = {key: spied(key, tensor) for key, tensor in whole.tensors.items()}
    extract(Checkpoint("x.pth", None, "pytorch", tensors, whole.hints))

    assert all(key == "pos_embed" or "norm" in key for key in read)
