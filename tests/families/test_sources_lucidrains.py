"""vit-pytorch's models and SHI-Labs' compact transformers, under their own names."""

from __future__ import annotations

import re

import numpy as np
import pytest
from closeness import assert_close

from pe_inspect.errors import AmbiguousCheckpoint, NoPositionEmbedding
from pe_inspect.families import extract
from pe_inspect.loading import Checkpoint
from pe_inspect.loading.prefixes import find_trunk

DIM = 16


def lucidrains(make, **extra):
    state = {
        "to_patch_embedding.1.weight": make.rand(48),
        "to_patch_embedding.1.bias": make.rand(48),
    }
    state |= {"to_patch_embedding.2.weight": make.rand(DIM, 48)}
    for i in range(2):
        at = f"transformer.layers.{i}"
        state |= make.norm(f"{at}.0.norm", DIM, seed=i) | make.norm(
            f"{at}.1.net.0", DIM, seed=9 + i
        )
        state[f"{at}.0.to_qkv.weight"] = make.unread(3 * DIM, DIM)
    return state | make.norm("transformer.norm", DIM) | extra


def read(make, state):
    found, _ = find_trunk(Checkpoint.from_state_dict(state).tensors)
    return extract(make.checkpoint({key: tensor.read() for key, tensor in found.items()}))


def read_on(make, state, grid):
    return extract(make.checkpoint(make.shuffled(state), grid_size=grid))


@pytest.mark.parametrize("axes", [(17, DIM), (1, 17, DIM)])
def test_a_vit_s_table_has_two_axes_today_and_had_three(make, axes):
    state = lucidrains(make, pos_embedding=make.rand(*axes), cls_token=make.rand(1, DIM))

    (pe,) = read(make, state)

    assert (pe.grid_size, pe.num_prefix_rows) == ((4, 4), 1)
    assert [norm.path for norm in pe.norms][:2] == ["blocks.0.norm1", "blocks.0.norm2"]
    assert {norm.eps for norm in pe.norms} == {1e-5}


def test_simple_vit_recomputes_its_table(make):
    with pytest.raises(NoPositionEmbedding, match="lucidrains' SimpleViT, which recomputes"):
        read(make, lucidrains(make))


def test_navit_adds_a_table_of_rows_and_one_of_columns(make):
    axes = {"pos_embed_height": make.rand(3, DIM), "pos_embed_width": make.rand(5, DIM, seed=1)}

    (pe,) = read(make, lucidrains(make, **axes))

    assert pe.grid_size == (3, 5)
    sum_at_2_4 = axes["pos_embed_height"][2] + axes["pos_embed_width"][4]
    assert np.array_equal(pe.tables[0].values[2 * 5 + 4], sum_at_2_4)


def test_a_masked_autoencoder_s_encoder_is_the_vit(make):
    vit = lucidrains(make, pos_embedding=make.rand(1, 17, DIM), cls_token=make.rand(1, 1, DIM))
    state = {f"encoder.{key}": value for key, value in vit.items()}
    state |= {"decoder_pos_emb.weight": make.rand(16, 8), "mask_token": make.rand(8)}

    (pe,) = read(make, state)

    assert (pe.grid_size, pe.num_prefix_rows, pe.embed_dim) == ((4, 4), 1, DIM)


def test_cross_vit_has_a_table_for_small_patches_and_one_for_large(make):
    state = {
        "sm_image_embedder.pos_embedding": make.rand(1, 26, DIM),
        "sm_image_embedder.cls_token": make.rand(1, 1, DIM),
        "lg_image_embedder.pos_embedding": make.rand(1, 10, 24),
        "lg_image_embedder.cls_token": make.rand(1, 1, 24),
    }

    small, large = read(make, state)

    assert (small.grid_size, small.tables[0].part) == ((5, 5), "small")
    assert (large.grid_size, large.tables[0].part) == ((3, 3), "large")
    assert small.num_prefix_rows == large.num_prefix_rows == 1


def compact(make, rows, **extra):
    state = {"tokenizer.conv_layers.0.0.weight": make.rand(DIM, 3, 7, 7)}
    state |= {"classifier.positional_emb": make.rand(1, rows, DIM)}
    for i in range(2):
        at = f"classifier.blocks.{i}"
        state |= make.norm(f"{at}.pre_norm", DIM, seed=i) | make.norm(
            f"{at}.norm1", DIM, seed=9 + i
        )
        state[f"{at}.self_attn.qkv.weight"] = make.unread(3 * DIM, DIM)
    return state | make.norm("classifier.norm", DIM) | extra


def test_cct_has_no_class_token_where_it_pools_the_sequence(make):
    state = compact(make, 64, **{"classifier.attention_pool.weight": make.rand(1, DIM)})

    (pe,) = read(make, state)

    assert (pe.grid_size, pe.num_prefix_rows, pe.num_prefix_tokens) == ((8, 8), 0, 0)
    assert pe.patch_size is None
    paths = ["blocks.0.norm1", "blocks.0.norm2", "blocks.1.norm1", "blocks.1.norm2", "norm"]
    assert [norm.path for norm in pe.norms] == paths
    assert np.array_equal(pe.norms[0].weight, state["classifier.blocks.0.pre_norm.weight"])
    assert {norm.eps for norm in pe.norms} == {1e-5}


def test_vit_lite_has_one(make):
    state = compact(make, 65, **{"classifier.class_emb": make.rand(1, 1, DIM)})

    (pe,) = read(make, state)

    assert (pe.grid_size, pe.num_prefix_rows, pe.num_prefix_tokens) == ((8, 8), 1, 1)


def test_cct_s_fixed_table_counts_the_patches(make):
    positions, channels = np.arange(64)[:, None], np.arange(DIM)
    angles = positions / 10000 ** (2 * (channels // 2) / DIM)
    table = np.where(channels % 2, np.cos(angles), np.sin(angles)).astype(np.float32)

    (pe,) = read(make, compact(make, 64, **{"classifier.positional_emb": table[None]}))

    assert (pe.family, pe.grid_size) == ("sinusoidal_1d", (8, 8))


def max_vit(make, *shapes):
    """Blocks of a convolution, attention within windows (2) and attention on a grid (6)."""
    state = {"conv_stem.0.weight": make.unread(8, 3, 3, 3)}
    for i, (rows, heads) in enumerate(shapes):
        for j in (2, 6):
            at = f"layers.{i}.{j}.fn"
            state |= make.norm(f"{at}.norm", 8 * heads, seed=i)
            state[f"{at}.to_qkv.weight"] = make.unread(24 * heads, 8 * heads)
            state[f"{at}.rel_pos_bias.weight"] = make.rand(rows, heads, seed=10 * i + j)
    return state


@pytest.mark.parametrize(("window", "hint"), [((3, 3), None), ((2, 3), (2, 3))])
def test_max_vit_looks_its_bias_up_by_row_and_column_of_query_minus_key(make, window, hint):
    height, width = window
    state = max_vit(
        make, ((2 * height - 1) * (2 * width - 1), 1), ((2 * height - 1) * (2 * width - 1), 2)
    )

    (pe,) = extract(make.checkpoint(make.shuffled(state), grid_size=hint))

    assert (pe.family, pe.kind, pe.grid_size) == ("relative_bias", "bias", window)
    places = [(table.layer, table.part) for table in pe.tables]
    parts = ("attn_block", "attn_grid")
    assert places == [(f"blocks.{i}", part) for i in range(2) for part in parts]
    for table, (i, j) in zip(pe.tables, ((0, 2), (0, 6), (1, 2), (1, 6)), strict=True):
        stored = state[f"layers.{i}.{j}.fn.rel_pos_bias.weight"]
        for query, (y, x) in enumerate(np.ndindex(window)):
            for key, (v, u) in enumerate(np.ndindex(window)):
                row = (y - v + height - 1) * (2 * width - 1) + (x - u + width - 1)
                assert np.array_equal(table.values[:, query, key], stored[row])


def test_a_max_vit_with_registers_is_described_and_put_on_no_grid(make):
    (pe,) = extract(make.checkpoint(max_vit(make, (26, 2))))

    assert (pe.kind, pe.grid_size, pe.num_heads, len(pe.keys)) == ("bias", None, 2, 2)
    message = "layers.0.2.fn.rel_pos_bias.weight of shape (26, 2) is a bias of attention in a form"
    assert any(note.startswith(message) for note in pe.notes)


def levit(make, channels=4):
    """Two stages of 5×5 and 3×3 patches, and what halves the grid between them."""
    state = {"conv_embedding.0.weight": make.unread(8, 3, 3, 3)}
    rows, columns = np.indices((5, 5)).reshape(2, -1)
    asking = (rows % 2 == 0) & (columns % 2 == 0)
    for i, side, heads, asks in ((0, 5, 2, ...), (1, 5, 4, asking), (2, 3, 3, ...)):
        rows, columns = np.indices((side, side)).reshape(2, -1)
        down, right = (np.abs(axis[asks][:, None] - axis[None]) for axis in (rows, columns))
        at = f"backbone.{i}.layers.0.0"
        state[f"{at}.to_q.0.weight"] = make.unread(heads * channels, 8, 1, 1)
        state[f"{at}.pos_bias.weight"] = make.rand(side * side, heads, seed=i)
        state[f"{at}.pos_indices"] = down * side + right
    return state


def test_levit_s_bias_is_looked_up_by_distance_and_divided_by_the_scale(make):
    state = levit(make)

    (pe,) = read(make, make.shuffled(state))

    assert (pe.family, pe.kind) == ("distance_bias", "bias")
    layers = [f"backbone.{i}.layers.0" for i in range(3)]
    assert [(t.layer, t.grid_size) for t in pe.tables] == list(
        zip(layers, ((5, 5), (5, 5), (3, 3)))
    )
    rows, columns = np.indices((5, 5)).reshape(2, -1)
    for table, layer in zip(pe.tables, layers, strict=True):
        index = state[f"{layer}.0.pos_indices"]
        bias = state[f"{layer}.0.pos_bias.weight"][index].transpose(2, 0, 1) / 4**-0.5
        halves = index.shape[0] < index.shape[1]
        asks = (rows % 2 == 0) & (columns % 2 == 0) if halves else ...
        assert_close(table.values[:, asks], bias)
    halved = "in backbone.1.layers.0 only every second row and column of patches asks"
    assert any(note.startswith(halved) for note in pe.notes)
    assert (
        "each table is multiplied by the root of a head's channels, as the model's code does"
        in pe.notes
    )


def test_levit_s_bias_on_a_grid_that_is_no_square(make):
    at = "backbone.0.layers.0.0"
    state = {
        f"{at}.pos_bias.weight": make.rand(12, 2),
        f"{at}.to_q.0.weight": make.unread(8, 8, 1, 1),
    }

    (pe,) = extract(make.checkpoint(state, grid_size=(3, 4)))

    assert pe.tables[0].values.shape == (2, 12, 12)
    stored = state[f"{at}.pos_bias.weight"] / 4**-0.5
    assert_close(pe.tables[0].values[:, 5, 11], stored[1 * 4 + 2])


def test_levit_s_bias_without_its_queries_cannot_be_scaled(make):
    state = {"backbone.0.layers.0.0.pos_bias.weight": make.rand(9, 2)}

    message = "backbone.0.layers.0.0.to_q.0.weight would tell, and the file lacks it"
    with pytest.raises(AmbiguousCheckpoint, match=re.escape(message)):
        extract(make.checkpoint(state))


def test_vit_nd_turns_by_row_and_column_times_the_frequencies_of_each_head(make):
    freqs = make.rand(2, 4, 2)
    state = lucidrains(make, **{"rotary_emb.freqs": freqs})

    (pe,) = read_on(make, state, (3, 5))

    assert (pe.family, pe.kind, pe.grid_size, pe.num_parameters) == ("rotary", "phases", (3, 5), 0)
    assert [table.layer for table in pe.tables] == ["blocks.0", "blocks.1"]
    wanted = [[freqs[h] @ np.float32([y, x]) for y, x in np.ndindex(3, 5)] for h in range(2)]
    assert_close(pe.tables[1].values, wanted)
    assert any("(i, i + head_dim/2)" in note for note in pe.notes)


def test_rvt_s_rows_and_columns_go_from_minus_pi_to_pi_times_each_scale(make):
    scales = np.linspace(1, 16, 4, dtype=np.float32)
    state = lucidrains(make, **{"transformer.pos_emb.scales": scales})

    (pe,) = read_on(make, state, (3, 5))

    assert (pe.family, pe.grid_size, pe.tables[0].shape) == ("rotary", (3, 5), (1, 15, 8))
    downs, acrosses = (-1, 0, 1), (-1, -0.5, 0, 0.5, 1)
    wanted = [[*(np.pi * v * scales), *(np.pi * u * scales)] for v in downs for u in acrosses]
    assert_close(pe.tables[0].values[0], wanted)
    assert any("pairs of channels are interleaved" in note for note in pe.notes)
    unsure = "the scales are stored even where the model was built with use_rotary=False"
    assert unsure in pe.notes


@pytest.mark.parametrize("key", ["rotary_emb.freqs", "transformer.pos_emb.scales"])
def test_a_rotation_of_theirs_asks_for_a_grid(make, key):
    values = make.rand(2, 4, 2) if "freqs" in key else make.rand(4)
    (pe,) = extract(make.checkpoint(lucidrains(make, **{key: values})))
    assert (pe.kind, pe.grid_size, pe.keys) == ("phases", None, (key,))
    assert any(note.startswith(f"{key} says no grid") for note in pe.notes)


@pytest.mark.parametrize(
    "key",
    [
        "rotary_emb.freqs",
        "transformer.pos_emb.scales",
        "layers.0.1.layers.0.0.dpb.0.weight",
        "layers.0.0.pos_emb",
    ],
)
def test_a_scheme_that_is_not_read_is_named_by_its_tensor(make, key):
    message = f"It keeps position in a scheme that this version does not read: {key}"
    with pytest.raises(NoPositionEmbedding, match=re.escape(message)):
        extract(make.checkpoint(lucidrains(make, **{key: make.rand(4, 3)})))


def test_a_table_that_may_be_of_frames_and_tokens_says_so(make):
    (pe,) = read(make, lucidrains(make, pos_embedding=make.rand(1, 3, 17, DIM)))

    assert (
        "pos_embedding is read as 3 rows × 17 columns; a ViViT's would be 3 frames of 16 patches "
        "and CLS" in pe.notes
    )


def test_a_table_of_rows_and_columns_does_not(make):
    (pe,) = read(make, lucidrains(make, pos_embedding=make.rand(1, 3, 7, DIM)))

    assert not any("frames" in note for note in pe.notes)
