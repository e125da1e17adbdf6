"""Tables of vectors that are not one row a token: their axes, their places, their partners."""

from __future__ import annotations

import re

import numpy as np
import pytest
import timm
import torch
from closeness import assert_close

from pe_inspect.errors import AmbiguousCheckpoint
from pe_inspect.families import extract


def random_model(name, **kwargs):
    torch.manual_seed(0)
    model = timm.create_model(name, **kwargs).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return model


def added_to(model, module, image):
    """What a model adds to zeros on the way: the first value that its dropout on position sees."""
    seen = []
    module.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].detach().clone()))
    with torch.no_grad():
        model(torch.zeros(1, 3, *image))
    return seen[0][0].numpy()


def silent(*modules):
    """Modules give zeros, so that nothing but position is left behind them."""
    for module in modules:
        module.register_forward_hook(lambda _, __, output: torch.zeros_like(output))


def test_pit_s_channels_first_table_is_what_pit_adds(make):
    model = random_model(
        "pit_ti_224", img_size=(48, 80), patch_size=16, stride=8, base_dims=[4, 4, 4],
        depth=[1, 1, 1], heads=[1, 2, 4],
    )  # fmt: skip
    silent(model.patch_embed)

    (pe,) = extract(make.checkpoint(model.state_dict()))

    assert (pe.grid_size, pe.num_prefix_rows, pe.num_prefix_tokens) == ((5, 9), 0, 1)
    added = added_to(model, model.pos_drop, (48, 80))
    np.testing.assert_array_equal(pe.tables[0].values, added.reshape(4, -1).T)
    assert pe.depth == 3
    assert [norm.path for norm in pe.norms][:2] == [
        "transformers.0.blocks.0.norm1",
        "transformers.0.blocks.0.norm2",
    ]


def test_distilled_pit_has_two_prefix_tokens_and_no_row_for_them(make):
    with torch.device("meta"):
        state = timm.create_model("pit_ti_distilled_224").state_dict()

    (pe,) = extract(make.checkpoint({k: torch.zeros(v.shape) for k, v in state.items()}))

    assert (pe.num_prefix_rows, pe.num_prefix_tokens) == (0, 2)


def test_volo_s_table_is_channels_last(make):
    from timm.models.volo import VOLO

    model = VOLO(
        layers=(1, 1, 1, 1), img_size=(64, 96), embed_dims=(8, 16, 16, 16), num_heads=(1, 2, 2, 2),
        downsamples=(True, False, False, False), outlook_attention=(True, False, False, False),
        stem_hidden_dim=4,
    ).eval()  # fmt: skip
    torch.nn.init.normal_(model.pos_embed)
    silent(model.network[1])

    (pe,) = extract(make.checkpoint(model.state_dict()))

    assert pe.grid_size == (4, 6)
    added = added_to(model, model.pos_drop, (64, 96))
    np.testing.assert_array_equal(pe.tables[0].values, added.reshape(-1, 16))


def test_visformer_has_a_table_a_stage_each_an_embedding_of_its_own(make):
    model = random_model(
        "visformer_tiny", img_size=(96, 160), init_channels=4, embed_dim=8, depth=(1, 1, 1),
        num_heads=2,
    )  # fmt: skip

    found = extract(make.checkpoint(make.shuffled(model.state_dict())))

    assert [pe.layer_names for pe in found] == [("stage1",), ("stage2",), ("stage3",)]
    assert [pe.grid_size for pe in found] == [(12, 20), (6, 10), (3, 5)]
    assert [pe.embed_dim for pe in found] == [4, 8, 16]
    second = model.pos_embed2.detach().numpy()[0]
    np.testing.assert_array_equal(found[1].tables[0].values[2 * 10 + 7], second[:, 2, 7])


def test_nest_s_blocks_are_put_back_into_rows(make):
    from timm.models.nest import Nest, blockify

    model = Nest(
        img_size=64, patch_size=4, embed_dims=(4, 8, 8), num_heads=(1, 2, 2), depths=(1, 1, 1)
    )

    found = extract(make.checkpoint(model.state_dict()))

    assert [pe.layer_names for pe in found] == [("levels.0",), ("levels.1",), ("levels.2",)]
    assert [pe.grid_size for pe in found] == [(16, 16), (8, 8), (4, 4)]
    for pe, level in zip(found, model.levels, strict=True):
        image = torch.from_numpy(pe.tables[0].values.copy()).reshape(1, *pe.grid_size, -1)
        torch.testing.assert_close(blockify(image, level.block_size), level.pos_embed.data)
    assert "16 blocks of 16 tokens were put back into row-major order" in found[0].notes


@pytest.mark.parametrize(
    ("name", "window"), [("hiera_small_abswin_256", (8, 8)), ("hieradet_small", (8, 8))]
)
def test_hiera_s_grid_and_window_are_two_embeddings_of_what_is_added(make, name, window):
    states = timm.create_model(name, global_pos_size=(3, 5)).state_dict()

    whole, tile = extract(make.checkpoint(states))

    assert (whole.grid_size, tile.grid_size) == ((3, 5), window)
    assert [pe.tables[0].name for pe in (whole, tile)] == ["input.global", "input.window"]
    key = "pos_embed_win" if name.startswith("hiera_") else "pos_embed_window"
    assert f"resized, and {key} is added to it in tiles" in whole.notes
    np.testing.assert_array_equal(tile.tables[0].values, states[key][0].flatten(1).T.numpy())
    np.testing.assert_array_equal(
        whole.tables[0].values, states["pos_embed"][0].flatten(1).T.numpy()
    )


def test_a_video_hiera_has_a_table_of_space_and_one_of_time(make):
    state = make.norm("blocks.0.norm1", 6) | {
        "pos_embed_spatial": make.rand(1, 16, 6),
        "pos_embed_temporal": make.rand(1, 5, 6, seed=1),
    }

    space, time = extract(make.checkpoint(state))

    assert (space.grid_size, time.grid_size) == ((4, 4), (5, 1))
    assert [pe.tables[0].part for pe in (space, time)] == ["spatial", "temporal"]


def test_crossvit_s_branches_have_grids_widths_and_class_tokens_of_their_own(make):
    model = random_model(
        "crossvit_tiny_240", img_size=(48, 72), img_scale=(1.0, 2 / 3), patch_size=(12, 16),
        embed_dim=(8, 16), num_heads=(2, 2), depth=((1, 2, 0),),
    )  # fmt: skip
    state = model.state_dict()

    small, large = extract(make.checkpoint(state, grid_size=(4, 6), num_prefix_tokens=1))

    assert [pe.tables[0].name for pe in (small, large)] == ["input.branch0", "input.branch1"]
    assert (small.grid_size, small.embed_dim, small.num_prefix_rows) == ((4, 6), 8, 1)
    assert (large.embed_dim, large.num_prefix_rows, large.num_prefix_tokens) == (16, 1, 1)
    np.testing.assert_array_equal(large.tables[0].values, state["pos_embed_1"][0].numpy())
    assert "blocks.0.blocks.1.1.norm1" in {norm.path for norm in small.norms}


def test_tnt_has_a_table_of_patches_and_one_of_the_pixels_in_each(make):
    model = random_model(
        "tnt_s_patch16_224", img_size=(48, 80), embed_dim=12, inner_dim=6, depth=1,
        num_heads_inner=2, num_heads_outer=2,
    )  # fmt: skip

    patches, pixels = extract(
        make.checkpoint(model.state_dict(), img_size=(48, 80), patch_size=(16, 16))
    )

    assert (patches.grid_size, patches.num_prefix_rows, patches.embed_dim) == ((3, 5), 1, 12)
    assert (pixels.grid_size, pixels.num_prefix_rows, pixels.embed_dim) == ((4, 4), 0, 6)
    inner = model.pixel_pos.detach().numpy()[0]
    np.testing.assert_array_equal(pixels.tables[0].values[4 * 1 + 2], inner[:, 1, 2])


def test_old_tnt_files_use_other_names(make):
    state = {"outer_pos": make.rand(1, 17, 8), "inner_pos": make.rand(1, 3, 2, 5)} | make.norm(
        "blocks.0.norm_out", 8
    )
    state["cls_token"] = make.rand(1, 1, 8)

    outer, inner = extract(make.checkpoint(state))

    assert (outer.keys, outer.grid_size) == (("outer_pos",), (4, 4))
    assert (inner.keys, inner.grid_size, inner.embed_dim) == (("inner_pos",), (2, 5), 3)


@pytest.mark.parametrize(
    ("names", "shapes"),
    [
        (("embeds.pos_embed_y", "embeds.pos_embed_x"), ((1, 3, 8), (1, 5, 8))),
        (("pos_embed_height", "pos_embed_width"), ((3, 8), (5, 8))),  # lucidrains' NaViT
    ],
)
def test_tables_of_rows_and_columns_are_added(make, names, shapes):
    down, across = (make.rand(*shape, seed=i) for i, shape in enumerate(shapes))

    (pe,) = extract(
        make.checkpoint({names[0]: down, names[1]: across, "norm.weight": make.rand(8)})
    )

    assert (pe.grid_size, pe.keys, pe.num_parameters) == ((3, 5), names, 8 * 8)
    wanted = down.reshape(3, 8)[2] + across.reshape(5, 8)[4]
    np.testing.assert_allclose(pe.tables[0].values[2 * 5 + 4], wanted)
    assert "grid 3×5: 3 rows and 5 columns, factorised and added here" in pe.notes


def test_naflexvit_adds_them_so_too(make):
    model = timm.create_model(
        "naflexvit_base_patch16_parfac_gap", depth=1, embed_dim=16, num_heads=2,
        pos_embed_grid_size=(3, 3), pos_embed_ar_preserving=False,
    )  # fmt: skip
    embeds = model.embeds
    pooled = torch.zeros(1, 9, 16)

    (pe,) = extract(make.checkpoint(model.state_dict()))

    embeds._apply_factorized_pos_embed(pooled, (3, 3))
    assert_close(pe.tables[0].values, pooled[0].detach().numpy())
    assert (pe.num_prefix_rows, pe.num_prefix_tokens) == (0, 4)


def test_gemma_s_two_axes_stay_apart_until_a_grid_is_said(make):
    key = "patch_embed.position_embedding_table"
    values = make.rand(2, 11, 8)
    state = {key: values, "norm.weight": make.rand(8)}

    down, across = extract(make.checkpoint(state))
    (summed,) = extract(make.checkpoint(state, grid_size=(3, 5)))

    assert (down.grid_size, across.grid_size) == ((11, 1), (1, 11))
    assert down.num_parameters + across.num_parameters == values.size == summed.num_parameters
    np.testing.assert_array_equal(across.tables[0].values, values[0])
    np.testing.assert_array_equal(down.tables[0].values, values[1])
    assert summed.grid_size == (3, 5)
    np.testing.assert_allclose(summed.tables[0].values[2 * 5 + 4], values[1, 2] + values[0, 4])
    assert (
        "11 positions of each axis, factorised: --grid-size HxW adds them on a grid" in down.notes
    )


def test_gemma_s_patch_embedding_reads_x_from_the_first_axis(make):
    from timm.models.gemma4_vit import Gemma4PatchEmbed

    torch.manual_seed(0)
    embed = Gemma4PatchEmbed(patch_size=4, embed_dim=8, position_embedding_size=11)
    torch.nn.init.zeros_(embed.input_proj.weight)
    key = "patch_embed.position_embedding_table"

    (pe,) = extract(
        make.checkpoint(
            {key: embed.position_embedding_table, "norm.weight": make.rand(8)}, grid_size=(3, 5)
        )
    )

    with torch.no_grad():
        added = embed(torch.zeros(1, 3, 12, 20))[0]
    assert_close(pe.tables[0].values, added[0].numpy())


@pytest.mark.parametrize("key", ["head.pos_embed", "visual.attnpool.positional_embedding"])
def test_the_first_row_of_clip_s_attention_pool_is_the_mean_s(make, key):
    state = {key: make.rand(13, 8), "visual.layer1.0.conv1.weight": make.rand(4, 4, 3, 3)}
    if key == "head.pos_embed":
        state = {key: state[key], "stages.0.conv.weight": make.rand(4, 4, 3, 3)}

    (pe,) = extract(make.checkpoint(state, grid_size=(3, 4)))

    assert (pe.grid_size, pe.num_prefix_rows) == ((3, 4), 1)
    assert pe.tables[0].layer in ("head", "attnpool")
    assert (
        "the first row is that of the mean of the patches, which asks for all of them" in pe.notes
    )


def test_the_attention_pool_of_timm_s_clip_resnet(make):
    from timm.layers import AttentionPool2d

    torch.manual_seed(0)
    pool = AttentionPool2d(16, feat_size=4, head_dim=4)
    state = {f"head.{key}": value for key, value in pool.state_dict().items()}

    (pe,) = extract(make.checkpoint(state))

    assert (pe.grid_size, pe.num_prefix_rows) == ((4, 4), 1)
    np.testing.assert_array_equal(pe.tables[0].values, state["head.pos_embed"].numpy())


def test_pvt_s_stages_differ_in_width_and_are_no_blocks(make):
    state = {f"pos_embed{i}": make.rand(1, (9 - 2 * i) ** 2, 4 * i) for i in (1, 2, 3)}
    state["pos_embed4"] = make.rand(1, 2, 16)
    state["cls_token"] = make.rand(1, 1, 16)

    found = extract(make.checkpoint(state))

    assert [pe.tables[0].layer for pe in found] == ["stage1", "stage2", "stage3", "stage4"]
    assert [(pe.grid_size, pe.num_prefix_rows) for pe in found] == [
        ((7, 7), 0),
        ((5, 5), 0),
        ((3, 3), 0),
        ((1, 1), 1),
    ]


def test_registers_and_cls_without_rows_are_noted(make):
    state = make.deit(dim=8) | {"pos_embed": make.rand(1, 16, 8), "reg_token": make.rand(1, 4, 8)}

    (pe,) = extract(make.checkpoint(state))

    assert (pe.num_prefix_rows, pe.num_prefix_tokens) == (0, 5)
    note = "the table covers none of the 5 prefix tokens; where CLS had a row (DINOv2 with "
    assert any(said.startswith(note) for said in pe.notes)


def test_a_hybrid_s_patch_is_not_its_kernel(make):
    with torch.device("meta"):
        state = timm.create_model("vit_tiny_r_s16_p8_224").state_dict()

    (pe,) = extract(make.checkpoint({k: torch.zeros(v.shape) for k, v in state.items()}))

    assert (pe.grid_size, pe.num_prefix_rows, pe.patch_size) == ((7, 7), 1, None)


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("pos_embed.proj.weight", (8, 1, 3, 3)),
        ("embeddings.position_ids", (1, 13)),
        ("text_model.embeddings.position_embedding.weight", (77, 8)),
        ("decoder_pos_embed", (1, 13, 8)),
        ("text.positional_embedding", (77, 8)),
        ("head.pos_embed", (1, 3, 3, 8)),
        ("pos_embed_win", (1, 8, 4, 4)),
        ("levels.0.pos_embed", (1, 3, 5, 8)),
        ("patch_embed.position_embedding_table", (3, 11, 8)),
    ],
)
def test_what_only_bears_such_a_name_is_no_table(make, name, shape):
    from pe_inspect.families.reading.tables import find_groups
    from pe_inspect.families.trunk import Trunk

    state = make.deit(dim=8) | {name: make.unread(*shape)}

    assert find_groups(Trunk(make.checkpoint(state))) == ()


def test_the_tables_of_a_branch_need_one_grid_each(make):
    state = {"pos_embed_0": make.rand(1, 13, 8), "cls_token_0": make.rand(1, 1, 8)}

    message = re.escape(
        "pos_embed_0 has 13 rows: 1 prefix + 3×4, 4×3, 2×6, 6×2, 1×12. Each is chosen by its flags"
    )
    with pytest.raises(AmbiguousCheckpoint, match=message):
        extract(make.checkpoint(state))


def test_pvt_s_base_class_keeps_a_table_a_stage_and_the_last_one_has_cls(make):
    state = {"pos_embeds.0": make.rand(1, 64, 8), "pos_embeds.1": make.rand(1, 17, 16)}

    first, last = extract(make.checkpoint(state | {"cls_token": make.rand(1, 1, 16)}))

    assert (first.tables[0].layer, first.grid_size, first.num_prefix_rows) == ("stage0", (8, 8), 0)
    assert (last.tables[0].layer, last.grid_size, last.num_prefix_rows) == ("stage1", (4, 4), 1)
