"""Tables of offsets become the bias that the model itself would add, block by block."""

from __future__ import annotations

import re

import numpy as np
import pytest
import timm
import torch
from closeness import assert_close

from pe_inspect.errors import AmbiguousCheckpoint
from pe_inspect.families import extract
from pe_inspect.kinds.held_values import Lookup


def randomised(model):
    torch.manual_seed(0)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter)
    return model


def timm_biases(model):
    """The bias that each of timm's attention modules computes for itself."""
    blocks = [m for m in model.modules() if hasattr(m, "_get_rel_pos_bias")]
    return [block._get_rel_pos_bias()[0].detach().numpy() for block in blocks]


def timm_swin(**kwargs):
    kwargs = {"depths": (1, 2), "embed_dim": 8, "num_heads": (2, 4), "num_classes": 0, **kwargs}
    return randomised(timm.create_model("swin_tiny_patch4_window7_224", **kwargs))


def test_swin_s_bias_is_timm_s_in_windows_that_are_not_square(make):
    model = timm_swin(img_size=(48, 80), window_size=(3, 5))

    (pe,) = extract(make.checkpoint(make.shuffled(model.state_dict()), grid_size=(3, 5)))

    assert (pe.family, pe.kind, pe.join, pe.num_prefix_rows) == (
        "relative_bias",
        "bias",
        "layer",
        0,
    )
    names = [f"layers.{s}.blocks.{b}" for s, b in ((0, 0), (1, 0), (1, 1))]
    assert [table.layer for table in pe.tables] == names
    for table, bias in zip(pe.tables, timm_biases(model), strict=True):
        assert table.grid_size == (3, 5)
        assert_close(table.values, bias)
    assert pe.num_parameters == 45 * (2 + 4 + 4)


def test_a_window_that_swin_shrinks_to_a_small_stage_follows_from_the_image_size(make):
    model = timm_swin(img_size=(24, 40), window_size=(3, 5), depths=(1, 1, 1), num_heads=(2, 2, 2))
    state = model.state_dict()

    (pe,) = extract(make.checkpoint(state, grid_size=(3, 5), img_size=(24, 40)))

    assert [table.grid_size for table in pe.tables] == [(3, 5), (3, 5), (2, 3)]
    for table, bias in zip(pe.tables, timm_biases(model), strict=True):
        assert_close(table.values, bias)
    assert "window 2×3 where the stage's grid is smaller than 3×5" in pe.notes


def test_without_the_image_size_a_shrunken_window_keeps_the_shape_of_the_said_one(make):
    model = timm_swin(img_size=(24, 40), window_size=(3, 5), depths=(1, 1, 1), num_heads=(2, 2, 2))

    (pe,) = extract(make.checkpoint(model.state_dict(), grid_size=(3, 5)))

    assert pe.tables[2].grid_size == (2, 3)
    assert "window 2×3 taken for a stage smaller than 3×5" in pe.notes


def test_beit_s_three_last_rows_are_cls(make):
    model = randomised(
        timm.create_model(
            "beit_base_patch16_224", img_size=(48, 64), depth=2, embed_dim=12, num_heads=3
        )
    )

    (pe,) = extract(make.checkpoint(model.state_dict(), img_size=(48, 64)))

    assert (pe.grid_size, pe.num_prefix_rows, pe.num_prefix_tokens) == ((3, 4), 1, 1)
    for table, bias in zip(pe.tables, timm_biases(model), strict=True):
        assert_close(table.values, bias)
    assert pe.tables[0].patches.shape == (3, 12, 12)


@pytest.mark.parametrize("shared", [False, True])
def test_hugging_face_s_beit(make, tmp_path, shared):
    from safetensors.torch import load_file
    from transformers import BeitConfig, BeitModel

    config = BeitConfig(
        hidden_size=8,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=16,
        image_size=48,
        patch_size=16,
        use_relative_position_bias=not shared,
        use_shared_relative_position_bias=shared,
    )
    model = BeitModel(config)
    model.save_pretrained(tmp_path)
    on_disk, in_memory = load_file(tmp_path / "model.safetensors"), model.state_dict()

    for state in (on_disk, in_memory):
        (pe,) = extract(make.checkpoint(state))

        assert [table.layer for table in pe.tables] == ["blocks.0", "blocks.1"]
        assert (pe.grid_size, pe.num_prefix_rows) == ((3, 3), 1)
        assert pe.num_parameters == (1 if shared else 2) * 28 * 2
        assert ("one table, shared by all 2 blocks" in pe.notes) is shared
        assert np.shares_memory(pe.tables[0].values, pe.tables[1].values) is shared


def test_hugging_face_s_swin(make, tmp_path):
    from safetensors.torch import load_file
    from transformers import SwinConfig, SwinModel

    config = SwinConfig(
        image_size=48, patch_size=4, embed_dim=8, depths=[1, 2], num_heads=[2, 2], window_size=3
    )
    model = SwinModel(config)
    model.save_pretrained(tmp_path)

    for state in (load_file(tmp_path / "model.safetensors"), model.state_dict()):
        (pe,) = extract(make.checkpoint(state))

        assert [t.layer for t in pe.tables] == [
            "layers.0.blocks.0",
            "layers.1.blocks.0",
            "layers.1.blocks.1",
        ]
        assert pe.grid_size == (3, 3)
        assert "layers.1.blocks.1.norm2" in {norm.path for norm in pe.norms}
        assert {norm.eps for norm in pe.norms} == {1e-5}


def test_torchvision_s_swin(make):
    from torchvision.models import SwinTransformer

    model = randomised(
        SwinTransformer(
            patch_size=[4, 4], embed_dim=8, depths=[1, 2], num_heads=[2, 4], window_size=[3, 5]
        )
    )

    (pe,) = extract(make.checkpoint(model.state_dict(), grid_size=(3, 5)))

    assert [t.layer for t in pe.tables] == [
        "layers.0.blocks.0",
        "layers.1.blocks.0",
        "layers.1.blocks.1",
    ]
    for table, block in zip(pe.tables, (model.features[1][0], *model.features[3])):
        bias = block.attn.get_relative_position_bias()[0].detach().numpy()
        assert_close(table.values, bias)
    paths = [norm.path for norm in pe.norms]
    assert paths[:3] == ["patch_embed.norm", "layers.0.blocks.0.norm1", "layers.0.blocks.0.norm2"]


def lape_bias(make, state, grid, block=0):
    """LaPE's bias by four plain loops."""
    table = state[f"blocks.{block}.attn.relative_position_bias_table"]
    return np.moveaxis(table[make.looped_index(grid)], -1, 0)


def test_lape_s_bias_is_between_patches_only(make):
    state = make.lape_rpe(grid=(3, 5))

    (pe,) = extract(make.checkpoint(state))

    assert (pe.join, pe.grid_size, pe.num_prefix_rows, pe.num_prefix_tokens) == (
        "layer",
        (3, 5),
        0,
        1,
    )
    for i, table in enumerate(pe.tables):
        np.testing.assert_array_equal(table.values, lape_bias(make, state, (3, 5), i))
    assert "window 3×5 shown by the stored index" in pe.notes
    assert (
        "LaPE's 1D_RPE and 2D_RPE have the same keys: read as offsets in two dimensions, between "
        "patches only" in pe.notes
    )


def test_lape_s_norm_over_the_keys_makes_it_a_lape_join_with_torch_s_eps(make):
    (pe,) = extract(make.checkpoint(make.lape_rpe(grid=(4, 3), normed=True), grid_size=(4, 3)))

    assert (pe.join, pe.grid_size) == ("lape", (4, 3))
    norms = pe.norms_named("attn.pe_norm")
    assert list(norms) == ["blocks.0", "blocks.1"]
    assert {norm.weight.shape for norm in norms.values()} == {(12,)}
    assert {norm.eps for norm in norms.values()} == {1e-5}
    assert {norm.eps for norm in pe.norms if norm.name == "norm1"} == {1e-6}
    assert pe.num_parameters == 2 * (35 * 3 + 2 * 12)
    assert "blocks.1.attn.pe_norm.bias" in pe.keys
    assert "eps 1e-05 assumed for attn.pe_norm, as in LaPE's code: --ln-eps" in pe.notes


def test_the_parameter_count_of_lape_s_rpe_model(make):
    state = make.lape_rpe(grid=(14, 14), depth=12)

    (pe,) = extract(make.checkpoint(state))

    assert pe.num_parameters == 26_244


def test_a_stored_index_is_never_used_and_a_wrong_one_is_named(make):
    state = make.lape_rpe(grid=(4, 4))
    wrong = make.looped_index((4, 4)).T.copy()
    state["blocks.1.attn.relative_position_index"] = wrong

    (pe,) = extract(make.checkpoint(state))

    np.testing.assert_array_equal(pe.tables[1].values, lape_bias(make, state, (4, 4), 1))
    assert (
        "blocks.1.attn.relative_position_index is not the index of a 4×4 window; it was "
        "recomputed, and the stored one not used" in pe.notes
    )


def test_wrong_stored_indices_of_several_blocks_are_one_note(make):
    state = make.lape_rpe(grid=(4, 4))
    for block in (0, 1):
        wrong = make.looped_index((4, 4)).T.copy()
        state[f"blocks.{block}.attn.relative_position_index"] = wrong

    (pe,) = extract(make.checkpoint(state))

    assert (
        "blocks.0.attn.relative_position_index and 1 other are not the index of a 4×4 window; "
        "they were recomputed, and the stored ones not used" in pe.notes
    )


def test_a_window_that_nothing_tells_is_ambiguous(make):
    state = make.lape_rpe(grid=(3, 4), depth=1)
    del state["blocks.0.attn.relative_position_index"]

    message = "has 35 rows: a window of 3×4 or 4×3 or 1×18 or 18×1. Each is chosen by --"
    with pytest.raises(AmbiguousCheckpoint, match=re.escape(message)):
        extract(make.checkpoint(state))


def test_a_window_that_does_not_fit_is_refused(make):
    message = "has 35 rows; a 7×7 window has 169, or 172 with CLS. Windows that fit: 3×4, 4×3."
    with pytest.raises(AmbiguousCheckpoint, match=re.escape(message)):
        extract(make.checkpoint(make.lape_rpe(), grid_size=(7, 7)))


def test_a_norm_over_keys_of_another_grid_is_refused(make):
    state = make.lape_rpe(normed=True) | make.norm("blocks.0.attn.pe_norm", 16)

    with pytest.raises(AmbiguousCheckpoint, match=r"attn\.pe_norm\.weight has 16 features, and no"):
        extract(make.checkpoint(state))


def test_a_join_that_the_norms_contradict_is_refused(make):
    with pytest.raises(AmbiguousCheckpoint, match="--join lape contradicts x"):
        extract(make.checkpoint(make.lape_rpe(), join="lape"))


def test_swin_with_a_table_at_the_input_has_two_embeddings(make):
    model = timm_swin(img_size=48, window_size=3)
    state = model.state_dict() | {"absolute_pos_embed": make.rand(1, 144, 8)}

    table, bias = extract(make.checkpoint(state))

    assert (table.family, table.grid_size, table.depth) == ("learned_absolute", (12, 12), 3)
    assert (bias.family, bias.grid_size) == ("relative_bias", (3, 3))


def timm_windows(model):
    """The bias that each of timm's own bias modules computes for itself."""
    kinds = ("RelPosBias", "RelPosBiasTf")
    modules = [m for m in model.modules() if type(m).__name__ in kinds]
    biases = [module.get_bias().detach().numpy() for module in modules]
    return [bias[0] if bias.ndim == 4 else bias for bias in biases]


@pytest.mark.parametrize("name", ["maxvit_tiny_tf_224", "maxvit_tiny_rw_224", "maxvit_tiny_pm_256"])
def test_maxvit_has_two_biases_a_block_within_windows_and_across_them(make, name):
    from timm.layers import RelPosBias, RelPosBiasTf

    torch.manual_seed(0)
    kind = RelPosBiasTf if name == "maxvit_tiny_tf_224" else RelPosBias
    bias = {at: randomised(kind((3, 5), 2)) for at in ("attn_block", "attn_grid")}
    inside = "attn.{}.rel_pos" if "_pm_" in name else "{}.attn.rel_pos"
    state = {
        f"stages.0.blocks.0.{inside.format(at)}.{key}": value
        for at, module in reversed(bias.items())
        for key, value in module.state_dict().items()
    }

    (pe,) = extract(make.checkpoint(state, grid_size=(3, 5)))

    assert [table.name for table in pe.tables] == [
        "stages.0.blocks.0.attn_block",
        "stages.0.blocks.0.attn_grid",
    ]
    assert pe.layer_names == ("stages.0.blocks.0",)
    for table, module in zip(pe.tables, bias.values(), strict=True):
        assert table.grid_size == (3, 5)
        wanted = module.get_bias().detach().numpy().reshape(2, 15, 15)
        assert_close(table.values, wanted)


def test_heads_first_tables_say_their_window_themselves(make):
    from timm.layers import RelPosBiasTf

    state = RelPosBiasTf((3, 5), 2).state_dict()
    state = {f"stages.0.blocks.0.attn_block.attn.rel_pos.{k}": v for k, v in state.items()}

    (pe,) = extract(make.checkpoint(state))

    assert pe.grid_size == (3, 5)
    assert "window 3×5 shown by the shape of the bias table" in pe.notes
    with pytest.raises(AmbiguousCheckpoint, match=r"a 7×7 window has 169, .* that fit: 3×5"):
        extract(make.checkpoint(state, grid_size=(7, 7)))


@pytest.mark.parametrize("name", ["test_coatnet", "test_maxvit"])
def test_coatnet_and_maxvit_as_timm_builds_them(make, name):
    model = randomised(timm.create_model(name))

    (pe,) = extract(make.checkpoint(make.shuffled(model.state_dict())))

    wanted = timm_windows(model)
    assert len(pe.tables) == len(wanted)
    for table, bias in zip(pe.tables, wanted, strict=True):
        assert_close(table.values, bias)


def test_gc_vit_s_stages_differ_in_window_and_a_flag_need_only_fit_one(make):
    from timm.models.gcvit import GlobalContextVit

    model = randomised(
        GlobalContextVit(
            img_size=(96, 160), depths=(1, 1, 1, 1), num_heads=(1, 2, 2, 2), embed_dim=8,
            window_size=((3, 5), (3, 5), (6, 10), (3, 5)), num_classes=0,
        )
    )  # fmt: skip
    state = model.state_dict()

    (pe,) = extract(make.checkpoint(state, grid_size=(6, 10)))

    assert [table.grid_size for table in pe.tables] == [(3, 5), (3, 5), (6, 10), (3, 5)]
    for table, bias in zip(pe.tables, timm_windows(model), strict=True):
        assert_close(table.values, bias)


def test_torchvision_s_maxvit(make):
    from torchvision.models import MaxVit

    model = randomised(
        MaxVit(
            input_size=(64, 64),
            stem_channels=8,
            partition_size=2,
            block_channels=[8, 16],
            block_layers=[1, 2],
            head_dim=4,
            stochastic_depth_prob=0.0,
        )
    )

    (pe,) = extract(make.checkpoint(model.state_dict()))

    modules = [m for m in model.modules() if hasattr(m, "get_relative_positional_bias")]
    assert len(pe.tables) == len(modules) == 6
    assert [table.part for table in pe.tables[:2]] == ["window_attention", "grid_attention"]
    for table, module in zip(pe.tables, modules, strict=True):
        bias = module.get_relative_positional_bias().detach().numpy()
        assert_close(table.values, bias[0])


def test_a_bias_is_expanded_only_where_somebody_looks(make):
    state = make.lape_rpe(grid=(3, 4), depth=2)

    (pe,) = extract(make.checkpoint(state, grid_size=(3, 4)))

    assert all(isinstance(table.held, Lookup) for table in pe.tables)
    assert pe.tables[0].held.index is pe.tables[1].held.index
    assert pe.headline.startswith("relative_bias · 3×4 · 3 heads")
    assert not any(table.held._held for table in pe.tables)
    assert pe.tables[0].values.shape == pe.tables[0].shape == (3, 12, 12)
