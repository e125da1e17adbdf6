"""The files of the original repositories: DINO, DINOv2, DINOv3, MAE, BEiT, SAM, rope-vit, PVT."""

from __future__ import annotations

import argparse

import numpy as np
import pytest
import torch
from timm.layers import build_sincos2d_pos_embed

from pe_inspect.errors import AmbiguousCheckpoint, NoPositionEmbedding
from pe_inspect.families import extract
from pe_inspect.loading import Hints, load

DIM = 16


@pytest.fixture
def saved(tmp_path):
    """Return a function that writes arrays as a .pth, in whatever nesting they come."""

    def write(content):
        torch.save(_tensors(content), tmp_path / "x.pth")
        return tmp_path / "x.pth"

    return write


def _tensors(node):
    if isinstance(node, dict):
        return {key: _tensors(value) for key, value in node.items()}
    return torch.from_numpy(np.array(node)) if isinstance(node, np.ndarray) else node


def vit(make, **extra):
    return make.deit(dim=DIM, depth=2, patch=(16, 16)) | extra


def scaled(make, name="gamma_1", **extra):
    gammas = {f"blocks.{i}.{name}": make.rand(DIM) for i in range(2)}
    return vit(make, **gammas, **extra)


def prefixed(prefix, state):
    return {prefix + key: value for key, value in state.items()}


def test_dino_s_teacher_is_taken_and_its_backbone_unwrapped(make, saved):
    table = make.rand(1, 17, DIM)
    teacher = prefixed("backbone.", vit(make, pos_embed=table))
    student = prefixed("module.backbone.", vit(make, pos_embed=make.rand(1, 17, DIM, seed=1)))
    teacher |= {"head.mlp.0.weight": make.rand(4, DIM)}
    args = argparse.Namespace(arch="vit_small", patch_size=16)
    path = saved({"student": student, "teacher": teacher, "epoch": 3, "args": args})

    (pe,) = extract(load(path))

    assert (pe.grid_size, pe.num_prefix_rows, pe.keys) == ((4, 4), 1, ("backbone.pos_embed",))
    assert np.array_equal(pe.tables[0].values, table[0])
    assert any("also present: 'student'" in note for note in pe.notes)
    (other,) = extract(load(path, state_dict_key="student"))
    assert not np.array_equal(other.tables[0].values, table[0])


@pytest.mark.parametrize("chunked", [False, True])
def test_dinov2_s_table_has_a_row_for_cls_and_none_for_registers(make, saved, chunked):
    state = scaled(make, "ls1.gamma", pos_embed=make.rand(1, 1 + 37 * 37, DIM))
    state |= {"register_tokens": make.rand(1, 4, DIM), "mask_token": make.rand(1, DIM)}
    if chunked:  # FSDP: blocks.CHUNK.INDEX
        state = {key.replace("blocks.", "blocks.0.", 1): value for key, value in state.items()}
    path = saved({"teacher": prefixed("backbone.", state)} if chunked else state)

    (pe,) = extract(load(path))

    assert (pe.grid_size, pe.num_prefix_rows, pe.num_prefix_tokens) == ((37, 37), 1, 5)
    assert [norm.path for norm in pe.norms][:2] == ["blocks.0.norm1", "blocks.0.norm2"]
    assert {norm.eps for norm in pe.norms} == {1e-6}


def test_dinov3_stores_periods_and_no_grid(make, saved):
    state = scaled(make, "ls1.gamma", storage_tokens=make.rand(1, 4, DIM))
    state |= {"rope_embed.periods": 100 ** (np.arange(2, dtype=np.float32) / 2)}
    state |= {"blocks.0.attn.qkv.bias_mask": np.full(3 * DIM, np.nan, np.float32)}
    path = saved(state)

    (pe,) = extract(load(path))
    assert (pe.kind, pe.grid_size, pe.num_prefix_tokens) == ("phases", None, 5)
    assert any(note.startswith("rope_embed.periods says no grid") for note in pe.notes)
    (pe,) = extract(load(path, hints=Hints(grid_size=(3, 5))))
    assert (pe.family, pe.grid_size, pe.num_prefix_tokens) == ("rotary", (3, 5), 5)
    assert {norm.eps for norm in pe.norms} == {1e-5}


def test_mae_s_fixed_table_is_known_and_its_decoder_s_is_left_alone(make, saved):
    table = build_sincos2d_pos_embed([4, 4], DIM).numpy()
    whole = np.concatenate([np.zeros((1, DIM), np.float32), table])[None]
    decoder = {
        "decoder_pos_embed": make.rand(1, 17, 8),
        "mask_token": make.rand(1, 1, 8),
        **prefixed("decoder_", make.norm("norm", 8) | make.norm("blocks.0.norm1", 8)),
    }
    path = saved({"model": vit(make, pos_embed=whole, **decoder)})

    (pe,) = extract(load(path))

    assert (pe.family, pe.grid_size, pe.num_prefix_rows) == ("sinusoidal_2d", (4, 4), 1)
    assert (pe.depth, pe.num_parameters) == (2, 0)
    assert {norm.weight.size for norm in pe.norms} == {DIM}


def test_beit_shares_one_bias_in_pre_training_and_has_one_a_block_after_it(make, saved):
    rows = 5 * 7 + 3
    shared = {"rel_pos_bias.relative_position_bias_table": make.rand(rows, 2)}
    before = vit(make, **shared, mask_token=make.rand(1, 1, DIM))
    before |= {"lm_head.weight": make.rand(9, DIM), "lm_head.bias": make.rand(9)}
    after = scaled(make, **{f"blocks.{i}.attn.q_bias": make.rand(DIM) for i in range(2)})
    own = "blocks.{}.attn.relative_position_bias_table"
    after |= {own.format(i): make.rand(rows, 2, seed=i) for i in range(2)}
    said = Hints(grid_size=(3, 4))

    (one,) = extract(load(saved({"model": before}), hints=said))
    (two,) = extract(load(saved({"module": after}), hints=said))

    assert (one.grid_size, one.num_prefix_rows, len(one.tables)) == ((3, 4), 1, 2)
    assert "one table, shared by all 2 blocks" in one.notes
    assert one.num_parameters == rows * 2
    assert two.num_parameters == 2 * rows * 2
    assert not np.array_equal(two.tables[0].values, two.tables[1].values)


def sam(make):
    state = {
        "pos_embed": make.rand(1, 4, 4, DIM),
        "patch_embed.proj.weight": make.rand(DIM, 3, 16, 16),
    }
    for i, length in enumerate((3, 7)):
        at = f"blocks.{i}"
        state |= make.norm(f"{at}.norm1", DIM, seed=i) | make.norm(f"{at}.norm2", DIM, seed=i + 9)
        state |= {f"{at}.attn.rel_pos_{axis}": make.rand(length, 8) for axis in "hw"}
        state |= {f"{at}.mlp.lin1.weight": make.unread(32, DIM)}
    state |= {"neck.1.weight": make.rand(8), "neck.1.bias": make.rand(8)}
    others = {
        "prompt_encoder.pe_layer.positional_encoding_gaussian_matrix": make.rand(2, 8),
        "mask_decoder.transformer.layers.0.norm1.weight": make.rand(8),
        "mask_decoder.transformer.layers.0.norm1.bias": make.rand(8),
    }
    return prefixed("image_encoder.", state) | others


def test_sam_has_a_table_and_offsets_and_meta_s_eps(make, saved):
    table, offsets = extract(load(saved(sam(make))))

    assert (table.grid_size, table.num_prefix_tokens) == ((4, 4), 0)
    assert [layer.grid_size for layer in offsets.tables] == [(2, 2), (2, 2), (4, 4), (4, 4)]
    assert {norm.eps for norm in table.norms} == {1e-6}
    assert len(table.norms) == 4


def test_rope_vit_s_axial_angles_are_stored_nowhere(make, saved):
    path = saved({"model": scaled(make)})

    with pytest.raises(NoPositionEmbedding, match=r"Not stored: it looks like a rotary model \(ro"):
        extract(load(path))


def test_rope_vit_with_a_table_has_the_keys_of_deit_iii(make, saved):
    (pe,) = extract(load(saved({"model": scaled(make, pos_embed=make.rand(1, 16, DIM))})))

    assert (pe.family, pe.num_prefix_rows, pe.num_prefix_tokens) == ("learned_absolute", 0, 1)
    assert (
        "DeiT-III and rope-vit's axial models with a table have these keys; the latter also rotate "
        "q and k (--arch timm:NAME)" in pe.notes
    )


def test_rope_vit_s_mixed_frequencies_need_the_number_of_heads(make, saved):
    grid = {"freqs_t_x": np.tile(np.arange(4.0), 3), "freqs_t_y": np.repeat(np.arange(3.0), 4)}
    path = saved({"model": scaled(make, freqs=make.rand(2, 2, 8), **grid)})

    with pytest.raises(AmbiguousCheckpoint, match="Pass --num-heads N"):
        extract(load(path))
    (pe,) = extract(load(path, hints=Hints(num_heads=2)))
    assert (pe.grid_size, pe.tables[0].values.shape) == ((3, 4), (2, 12, 4))


def test_eva_02_has_a_table_and_stored_rotations(make, saved):
    angles = np.repeat(np.linspace(0, 1, 16)[:, None] * np.ones(4), 2, axis=1)
    biases = {f"blocks.{i}.attn.q_bias": make.rand(DIM) for i in range(2)}
    rope = {"rope.freqs_cos": np.cos(angles), "rope.freqs_sin": np.sin(angles)}
    path = saved({"module": vit(make, pos_embed=make.rand(1, 17, DIM), **biases, **rope)})

    table, turns = extract(load(path))

    assert (table.family, turns.family) == ("learned_absolute", "rotary")
    assert turns.grid_size == (4, 4)
    assert not any("EVA-02 also rotates" in note for note in table.notes)


def test_microsoft_s_swin_with_a_table_has_two_embeddings(make, saved):
    state = {
        "absolute_pos_embed": make.rand(1, 144, 8),
        "patch_embed.proj.weight": make.rand(8, 3, 4, 4),
    }
    for stage, dim, heads in ((0, 8, 2), (1, 16, 4)):
        at = f"layers.{stage}.blocks.0"
        state |= make.norm(f"{at}.norm1", dim) | make.norm(f"{at}.norm2", dim)
        state[f"{at}.attn.relative_position_bias_table"] = make.rand(25, heads)
        state[f"{at}.attn.relative_position_index"] = make.looped_index((3, 3))
    state["layers.0.blocks.0.attn_mask"] = make.rand(16, 9, 9)

    table, bias = extract(load(saved({"model": state})))

    assert (table.grid_size, bias.grid_size) == ((12, 12), (3, 3))
    assert not any("not the index" in note for note in bias.notes)
    assert {norm.eps for norm in bias.norms} == {1e-5}


def test_pvt_has_a_table_a_stage_and_a_class_token_in_the_last(make, saved):
    state = {"cls_token": make.rand(1, 1, 24)}
    for stage, (side, dim) in enumerate(((8, 8), (4, 12), (2, 24)), start=1):
        rows = side * side + (stage == 3)
        state[f"pos_embed{stage}"] = make.rand(1, rows, dim)
        state[f"patch_embed{stage}.proj.weight"] = make.rand(dim, 3, 4, 4)
        state |= make.norm(f"block{stage}.0.norm1", dim) | make.norm(f"block{stage}.0.norm2", dim)

    found = extract(load(saved(state)))

    assert [pe.grid_size for pe in found] == [(8, 8), (4, 4), (2, 2)]
    assert [pe.num_prefix_rows for pe in found] == [0, 0, 1]
    assert [norm.path for norm in found[0].norms][:2] == ["block1.0.norm1", "block1.0.norm2"]
