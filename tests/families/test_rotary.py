"""Rotary angles: read from buffers, made of learned frequencies, or asked of timm's own module."""

from __future__ import annotations

import re

import numpy as np
import pytest
import timm
import torch
from closeness import assert_close

from pe_inspect.errors import AmbiguousCheckpoint, NoPositionEmbedding, UsageError
from pe_inspect.families import extract


def turns_like(values, table, *, in_halves=False):
    """Whether cos and sin of our angles are those of timm's [sin | cos] table."""
    sine, cosine = np.split(table.detach().numpy(), 2, axis=-1)
    half = sine.shape[-1] // 2
    pick = np.s_[..., :half] if in_halves else np.s_[..., ::2]
    assert_close(np.sin(values), sine[pick], at=values)
    assert_close(np.cos(values), cosine[pick], at=values)


def small(name, **kwargs):
    torch.manual_seed(0)
    return timm.create_model(name, depth=2, embed_dim=32, num_heads=2, img_size=(48, 64), **kwargs)


def test_s_chh_s_buffers_hold_each_angle_twice_x_before_y(make):
    state = make.schh("rope", grid=(3, 5), dim=32, heads=2)

    (pe,) = extract(make.checkpoint(state))

    assert (pe.family, pe.kind, pe.join, pe.num_parameters) == ("rotary", "phases", "layer", 0)
    assert (pe.grid_size, pe.num_prefix_rows, pe.num_prefix_tokens) == ((3, 5), 0, 1)
    assert [table.layer for table in pe.tables] == ["blocks.0", "blocks.1"]
    assert pe.tables[0].values.shape == (1, 15, 8)
    thetas = 10000.0 ** (-2 * np.arange(1, 5) / 8)  # its first angle is 0.3162, not 1
    for patch, (y, x) in enumerate(np.ndindex(3, 5)):
        angles = np.concatenate([(x + 1) * thetas, (y + 1) * thetas])
        assert_close(pe.tables[1].values[0, patch], angles)
    assert "grid 3×5 read from the rotary buffers" in pe.notes
    assert "all heads × 8 angles" in pe.headline


def test_s_chh_s_angles_keep_growing_beyond_a_full_turn(make):
    (pe,) = extract(make.checkpoint(make.schh("rope", grid=(2, 40), dim=32, heads=2)))

    first = pe.tables[0].values[0, :40, 0]
    assert_close(first, 10000 ** (-1 / 4) * np.arange(1, 41), operations=64)


def test_a_block_that_lacks_one_of_its_buffers_is_refused(make):
    state = make.schh("rope")
    del state["encoder.1.attention.rotary_embedding.y_sin"]

    with pytest.raises(AmbiguousCheckpoint, match="x_cos has no y_sin of its shape beside it"):
        extract(make.checkpoint(state))


def test_mixed_frequencies_give_timm_s_angles_per_layer_and_head(make):
    model = small("vit_small_patch16_rope_mixed_224")

    (pe,) = extract(make.checkpoint(model.state_dict(), grid_size=(3, 4)))

    assert pe.keys == ("rope.freqs",)
    assert pe.num_parameters == 2 * 2 * 2 * 8
    assert (pe.num_heads, pe.num_prefix_tokens, pe.stored) == (2, 1, True)
    for table, expected in zip(pe.tables, model.rope.get_embed([3, 4]), strict=True):
        turns_like(table.values, expected)


def test_mixed_frequencies_beside_a_table_take_the_table_s_grid(make):
    model = small("vit_small_patch16_rope_mixed_ape_224")

    table, rotary = extract(make.checkpoint(model.state_dict(), img_size=(48, 64)))

    assert (table.family, table.num_prefix_rows) == ("learned_absolute", 0)
    assert (rotary.family, rotary.grid_size) == ("rotary", (3, 4))
    assert "grid 3×4 as in pos_embed" in rotary.notes


def naver(make, heads=2, grid=(3, 4)):
    """The original repository's mixed model: heads folded into one axis, positions persisted."""
    y, x = (axis.ravel().astype(np.float32) for axis in np.indices(grid))
    freqs = make.rand(2, 2, heads, 32, seed=4) * 50
    state = make.deit(depth=2) | {"freqs": freqs.reshape(2, 2, -1)}
    return freqs, state | {"freqs_t_x": x, "freqs_t_y": y}


@pytest.mark.parametrize("said", [None, 2])
def test_naver_s_layout_is_timm_s_with_the_heads_folded(make, said):
    freqs, state = naver(make)

    (pe,) = extract(make.checkpoint(state, num_heads=said))

    assert (pe.grid_size, pe.num_heads) == ((3, 4), 2)
    for patch, (y, x) in enumerate(np.ndindex(3, 4)):
        expected = x * freqs[0, 1] + y * freqs[1, 1]
        assert_close(pe.tables[1].values[:, patch], expected)
    assert ("2 heads of 64 channels assumed (--num-heads)" in pe.notes) is (said is None)


def test_heads_that_do_not_divide_the_frequencies_are_refused(make):
    _, state = naver(make)

    with pytest.raises(
        AmbiguousCheckpoint, match=r"which 3 heads do not divide. Pass --num-heads N"
    ):
        extract(make.checkpoint(state, num_heads=3))


def test_frequencies_alone_say_no_grid(make):
    state = small("vit_small_patch16_rope_mixed_224").state_dict()

    message = (
        "rope.freqs says no grid: rotary angles are computed for any. Pass --grid-size HxW, or "
        "--arch timm:NAME for the grid that it was trained on."
    )
    (pe,) = extract(make.checkpoint(state))
    assert (pe.kind, pe.grid_size, pe.num_heads, pe.depth) == ("phases", None, 2, 2)
    assert message in pe.notes


def unread(name, make):
    """A state dict of timm's shapes whose values take no memory."""
    with torch.device("meta"):
        shapes = timm.create_model(name).state_dict()
    return {key: make.unread(*tensor.shape) for key, tensor in shapes.items()}


ROTARY = [
    ("vit_small_patch16_rope_224", False, (3, 5)),
    ("vit_medium_patch16_rope_reg1_gap_256", False, (3, 5)),
    ("vit_pe_core_tiny_patch16_384", False, (3, 5)),
    ("vit_small_patch16_dinov3", True, (7, 9)),
]


@pytest.mark.parametrize(("name", "in_halves", "grid"), ROTARY)
@pytest.mark.parametrize("square", [False, True])
def test_what_no_file_stores_is_computed_by_timm_s_own_module(make, name, in_halves, grid, square):
    model = timm.create_model(name, depth=1)
    grid = tuple(model.patch_embed.grid_size) if square else grid
    state = {k: v for k, v in unread(name, make).items() if k != "pos_embed"}
    said = {} if square else {"grid_size": grid}

    (pe,) = extract(make.checkpoint(state, arch=f"timm:{name}", **said))

    assert (pe.family, pe.stored, pe.keys, pe.num_parameters) == ("rotary", False, (), 0)
    assert pe.architecture == f"timm:{name}"
    assert (pe.grid_size, pe.depth) == (grid, 12)
    if hasattr(model.rope, "update_feat_shape"):
        model.rope.update_feat_shape(list(grid))
    turns_like(pe.tables[0].values[0], model.rope.get_embed(shape=list(grid)), in_halves=in_halves)
    assert np.shares_memory(pe.tables[0].values, pe.tables[-1].values)
    assert (
        f"computed from --arch timm:{name}: the file stores nothing of its rotary embedding"
        in pe.notes
    )
    assert f"eps {model.blocks[0].norm1.eps:g} from --arch timm:{name}" in pe.notes


def test_axial_angles_grow_evenly_along_each_axis(make):
    state = unread("vit_small_patch16_rope_224", make)

    (pe,) = extract(
        make.checkpoint(state, arch="timm:vit_small_patch16_rope_224", grid_size=(20, 30))
    )

    field = pe.tables[0].values[0].reshape(20, 30, -1)
    for axis in (0, 1):
        steps = np.diff(field, axis=axis)
        assert_close(steps, np.broadcast_to(steps[:1, :1], steps.shape), at=field)


def test_eva02_has_a_table_and_a_rotary_embedding(make):
    state = unread("eva02_tiny_patch14_224", make)

    table, rotary = extract(make.checkpoint(state, arch="timm:eva02_tiny_patch14_224"))

    assert (table.family, table.stored, table.num_prefix_rows) == ("learned_absolute", True, 1)
    assert (rotary.family, rotary.stored, rotary.grid_size) == ("rotary", False, (16, 16))


def test_eva02_without_its_name_is_only_suspected(make):
    (pe,) = extract(make.checkpoint(unread("eva02_tiny_patch14_224", make)))

    assert pe.family == "learned_absolute"
    assert (
        "EVA and EVA-02 have these keys; EVA-02 also rotates q and k (--arch timm:NAME)" in pe.notes
    )


def test_the_original_eva02_persists_its_tables(make):
    rope = timm.create_model("eva02_tiny_patch14_224", depth=1).rope
    rope.update_feat_shape([4, 4])
    sine, cosine = rope.get_embed().chunk(2, -1)
    state = make.deit() | {"rope.freqs_sin": sine, "rope.freqs_cos": cosine}

    (pe,) = extract(make.checkpoint(state))

    assert (pe.grid_size, pe.num_parameters, pe.stored) == ((4, 4), 0, True)
    turns_like(pe.tables[2].values[0], rope.get_embed())


def test_the_original_dinov3_persists_its_periods(make):
    rope = timm.create_model("vit_small_patch16_dinov3", depth=1).rope
    state = make.deit() | {"rope_embed.periods": rope.periods, "storage_tokens": make.rand(1, 4, 8)}

    (pe,) = extract(make.checkpoint(state, img_size=(12, 20)))

    assert (pe.grid_size, pe.num_prefix_tokens) == ((3, 5), 5)
    assert {norm.eps for norm in pe.norms} == {1e-5}
    turns_like(pe.tables[0].values[0], rope.get_embed(shape=[3, 5]), in_halves=True)


def test_an_architecture_of_a_config_json_is_looked_up_only_if_its_name_says_rotary(make):
    state = unread("vit_small_patch16_rope_224", make)
    origins = {"arch": "config.json"}

    (pe,) = extract(make.checkpoint(state, arch="vit_small_patch16_rope_224", origins=origins))
    assert any(note.startswith("computed from config.json vit_small") for note in pe.notes)

    with pytest.raises(NoPositionEmbedding):
        extract(make.checkpoint(state, arch="no_such_model", origins=origins))


@pytest.mark.parametrize(
    ("arch", "error", "message"),
    [
        (
            "timm:vit_smal_patch16_rope_224",
            UsageError,
            "Did you mean timm:vit_small_patch16_rope_224",
        ),
        ("hub:x", UsageError, "--arch hub:x is not understood: it takes timm:NAME."),
        ("timm:vit_large_patch16_rope_224", AmbiguousCheckpoint, "has 24 blocks, x.pth has 12"),
        ("timm:vit_base_patch16_rope_224", AmbiguousCheckpoint, "has embed_dim 768, x.pth has 384"),
        (
            "timm:vit_small_patch16_rope_mixed_224",
            AmbiguousCheckpoint,
            "learns its frequencies (rope.freqs), and x.pth holds none",
        ),
    ],
)
def test_an_architecture_that_is_not_the_file_s_is_refused(make, arch, error, message):
    state = unread("vit_small_patch16_rope_224", make)

    with pytest.raises(error, match=re.escape(message)):
        extract(make.checkpoint(state, arch=arch))
