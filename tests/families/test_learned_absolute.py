"""Learned tables of every library, with the grid, the prefix rows and the values that it means."""

from __future__ import annotations

import numpy as np
import pytest
import timm
import torch

from pe_inspect.families import extract


def shapes_of(build):
    """A model's state dict, all zeros."""
    with torch.device("meta"):
        model = build()
    return {k: torch.zeros(v.shape, dtype=v.dtype) for k, v in model.state_dict().items()}


def timm_vit(name, **kwargs):
    kwargs = {"depth": 2, "embed_dim": 16, "num_heads": 2, **kwargs}
    return timm.create_model(name, img_size=(48, 64), patch_size=16, **kwargs).state_dict()


@pytest.mark.parametrize(
    ("name", "prefix_rows", "prefix_tokens"),
    [
        ("vit_tiny_patch16_224", 1, 1),
        ("deit_tiny_patch16_224", 1, 1),
        ("deit_tiny_distilled_patch16_224", 2, 2),
        ("deit3_small_patch16_224", 0, 1),  # the table leaves CLS out
        ("vit_small_patch14_dinov2", 1, 1),
        ("vit_small_patch14_reg4_dinov2", 0, 5),
        ("vit_base_patch16_siglip_224", 0, 0),
        ("vit_wee_patch16_reg1_gap_256", 0, 1),
        ("vit_so150m_patch16_reg4_gap_256", 4, 4),
        ("vit_base_patch32_clip_quickgelu_224", 1, 1),
    ],
)
def test_timm_tables_are_read_exactly_on_a_grid_that_is_not_square(
    make, name, prefix_rows, prefix_tokens
):
    state = timm_vit(name)

    (pe,) = extract(make.checkpoint(state, img_size=(48, 64)))

    assert (pe.family, pe.kind, pe.join) == ("learned_absolute", "vectors", "input")
    assert pe.grid_size == (3, 4)
    assert (pe.num_prefix_rows, pe.num_prefix_tokens) == (prefix_rows, prefix_tokens)
    assert (pe.depth, pe.embed_dim, pe.patch_size) == (2, 16, (16, 16))
    assert pe.keys == ("pos_embed",)
    assert pe.num_parameters == state["pos_embed"].numel()
    np.testing.assert_array_equal(pe.tables[0].values, state["pos_embed"][0].numpy())
    assert pe.tables[0].layer == "input"


@pytest.mark.parametrize(
    ("name", "grid", "rows"),
    [
        ("deit_tiny_patch16_224", (14, 14), 37_824),
        ("flexivit_small", (15, 15), 86_400),
        ("naflexvit_base_patch16_gap", (16, 16), 196_608),
        ("samvit_base_patch16", (64, 64), 3_145_728),
        ("volo_d1_224", (14, 14), 75_264),
        ("pit_ti_224", (27, 27), 46_656),
    ],
)
def test_an_ordinary_square_table_needs_no_hint(make, name, grid, rows):
    pe = extract(make.checkpoint(shapes_of(lambda: timm.create_model(name))))[0]

    assert (pe.family, pe.grid_size) == ("learned_absolute", grid)
    assert pe.num_parameters == rows


def test_a_channels_first_table_is_turned_to_one_row_a_token(make):
    state = make.deit(dim=8) | {"pos_embed": make.rand(1, 8, 3, 4)}

    (pe,) = extract(make.checkpoint(state))

    assert pe.grid_size == (3, 4)
    np.testing.assert_array_equal(pe.tables[0].values[1 * 4 + 2], state["pos_embed"][0, :, 1, 2])


def test_a_channels_last_table_keeps_its_own_grid(make):
    state = make.deit(dim=8) | {"pos_embed": make.rand(1, 3, 4, 8)}

    (pe,) = extract(make.checkpoint(state))

    np.testing.assert_array_equal(pe.tables[0].values[1 * 4 + 2], state["pos_embed"][0, 1, 2])


def test_torchvision(make):
    from torchvision.models import VisionTransformer

    model = VisionTransformer(
        image_size=48, patch_size=16, num_layers=2, num_heads=2, hidden_dim=16, mlp_dim=32
    )
    state = model.state_dict()

    (pe,) = extract(make.checkpoint(state))

    assert pe.keys == ("encoder.pos_embedding",)
    assert (pe.grid_size, pe.num_prefix_rows, pe.depth, pe.patch_size) == ((3, 3), 1, 2, (16, 16))
    assert [norm.path for norm in pe.norms] == [
        "blocks.0.norm1",
        "blocks.0.norm2",
        "blocks.1.norm1",
        "blocks.1.norm2",
        "norm",
    ]


def hugging_face(tmp_path, model):
    from safetensors.torch import load_file

    model.save_pretrained(tmp_path)
    return load_file(tmp_path / "model.safetensors")


TINY = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "patch_size": 16,
}


@pytest.mark.parametrize(
    ("kind", "prefix_rows", "prefix_tokens", "eps"),
    [
        ("ViT", 1, 1, 1e-12),
        ("DeiT", 2, 2, 1e-12),
        ("Dinov2", 1, 1, 1e-6),
        ("Dinov2WithRegisters", 1, 5, 1e-6),  # the table leaves the registers out
        ("CLIPVision", 1, 1, 1e-5),
        ("SiglipVision", 0, 0, 1e-6),
    ],
)
@pytest.mark.parametrize("naming", ["on disk", "in memory"])
def test_hugging_face(make, tmp_path, kind, prefix_rows, prefix_tokens, eps, naming):
    import transformers

    config = getattr(transformers, f"{kind}Config")(image_size=48, **TINY)
    model = getattr(transformers, f"{kind}Model")(config)
    state = model.state_dict() if naming == "in memory" else hugging_face(tmp_path, model)

    (pe,) = extract(make.checkpoint(state))

    assert pe.family == "learned_absolute"
    assert (pe.grid_size, pe.depth) == ((3, 3), 2)
    assert (pe.num_prefix_rows, pe.num_prefix_tokens) == (prefix_rows, prefix_tokens)
    paths = {norm.path for norm in pe.norms}
    assert {f"blocks.{i}.norm{j}" for i in (0, 1) for j in (1, 2)} <= paths
    assert "norm" in paths
    assert {norm.eps for norm in pe.norms} == {eps}


def test_open_clip_s_text_table_is_not_mistaken_for_the_image_s(make):
    state = make.norm("visual.transformer.resblocks.0.ln_1", 16) | {
        "positional_embedding": make.rand(77, 16),
        "token_embedding.weight": make.rand(100, 16),
        "transformer.resblocks.0.ln_1.weight": make.rand(16),
        "visual.positional_embedding": make.rand(13, 16, seed=2),
        "visual.class_embedding": make.rand(16),
        "visual.conv1.weight": make.rand(16, 3, 16, 16),
    }

    (pe,) = extract(make.checkpoint(state, grid_size=(3, 4)))

    assert pe.keys == ("visual.positional_embedding",)
    np.testing.assert_array_equal(pe.tables[0].values, state["visual.positional_embedding"])
    assert [norm.path for norm in pe.norms] == ["blocks.0.norm1"]


def test_flax_names(make):
    state = {
        "cls": make.rand(1, 1, 16),
        "embedding/kernel": make.rand(8, 4, 3, 16),
        "Transformer/posembed_input/pos_embedding": make.rand(1, 13, 16),
        "Transformer/encoder_norm/scale": make.rand(16),
        "Transformer/encoder_norm/bias": make.rand(16),
    }
    for i in (10, 9):
        for which in (0, 2):
            at = f"Transformer/encoderblock_{i}/LayerNorm_{which}"
            state |= {f"{at}/scale": np.full(16, i), f"{at}/bias": make.rand(16)}

    (pe,) = extract(make.checkpoint(state, img_size=(24, 16)))

    assert (pe.grid_size, pe.num_prefix_rows, pe.patch_size) == ((3, 4), 1, (8, 4))
    assert [norm.path for norm in pe.norms] == [
        "blocks.9.norm1",
        "blocks.9.norm2",
        "blocks.10.norm1",
        "blocks.10.norm2",
        "norm",
    ]
    assert pe.norms[2].weight[0] == 10


def test_lucidrains(make):
    state = {
        "pos_embedding": make.rand(13, 16),
        "cls_token": make.rand(1, 1, 16),
        "to_patch_embedding.2.weight": make.rand(16, 48),
        **make.norm("transformer.layers.0.0.norm", 16),
        **make.norm("transformer.layers.0.1.net.0", 16),
        **make.norm("transformer.norm", 16),
    }

    (pe,) = extract(make.checkpoint(state, grid_size=(4, 3)))

    assert pe.grid_size == (4, 3)
    assert [norm.path for norm in pe.norms] == ["blocks.0.norm1", "blocks.0.norm2", "norm"]
    assert {norm.eps for norm in pe.norms} == {1e-5}


def test_s_chh_s_learned_table_has_no_cls_row(make):
    state = make.schh("learn", grid=(4, 4))

    (pe,) = extract(make.checkpoint(state))

    assert pe.keys == ("embedding.pos_embedding",)
    assert (pe.grid_size, pe.num_prefix_rows, pe.num_prefix_tokens) == ((4, 4), 0, 1)
    assert pe.num_parameters == 16 * 16


@pytest.mark.parametrize("name", ["", "pos_embed", "arr_0"])
def test_a_bare_array_is_a_table(make, name):
    (pe,) = extract(make.checkpoint({name: make.rand(12, 8)}, grid_size=(3, 4)))

    assert (pe.grid_size, pe.num_prefix_rows, pe.depth, pe.norms) == ((3, 4), 0, 0, ())


def test_wrappers_that_are_still_there_do_not_hide_a_model(make):
    state = {f"module.backbone.{key}": value for key, value in make.lape("input").items()}

    (pe,) = extract(make.checkpoint(state, grid_size=(3, 4)))

    assert pe.keys == ("module.backbone.pos_embed",)
    assert pe.depth == 3


def test_values_that_are_not_finite_are_kept_and_counted(make):
    state = make.lape("input")
    state["pos_embed"][0, 2, :3] = (np.nan, np.inf, -np.inf)

    (pe,) = extract(make.checkpoint(state, grid_size=(3, 4)))

    assert "pos_embed holds 3 non-finite values" in pe.notes
    assert pe.num_nonfinite == 3


def test_the_table_of_an_mae_decoder_is_left_alone(make):
    state = make.lape("input") | {"decoder_pos_embed": make.rand(1, 13, 4)}

    (pe,) = extract(make.checkpoint(state, grid_size=(3, 4)))

    assert pe.keys == ("pos_embed",)
