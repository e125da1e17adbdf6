"""Rotary models beyond the plain ones: per block, on windows, by config.json, Gemma's, MRoPE."""

from __future__ import annotations

import re
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import timm
import torch
from closeness import assert_close
from timm.layers import RotaryEmbeddingDinoV3
from timm.layers.pos_embed_sincos import RotaryEmbedding, RotaryEmbeddingCat, RotaryEmbeddingMRope

from pe_inspect.errors import AmbiguousCheckpoint
from pe_inspect.families import extract
from pe_inspect.families.reading.arch import rotary_table
from pe_inspect.families.reading.rotation import first_of_pairs, pairing_of

INTERLEAVED = "pairs of channels are interleaved: (2i, 2i + 1)"
HALF = "pairs of channels lie half a head apart: (i, i + head_dim/2), as in rotate_half"


def same_rotation(angles, sines, cosines):
    assert_close(np.sin(angles), sines, at=angles)
    assert_close(np.cos(angles), cosines, at=angles)


def positions(grid):
    y, x = (axis.ravel().astype(np.float32) for axis in np.indices(grid))
    return x, y


def swin_rope(make, *, mixed, grid=(3, 4), heads=2):
    """naver's Swin-RoPE: frequencies a block, positions of the window beside them."""
    x, y = positions(grid)
    state = {}
    for stage in (0, 1):
        at = f"layers.{stage}.blocks.0.attn"
        axial = 10 ** (-np.arange(4) / 4)
        fixed = np.array([[*axial, *np.zeros(4)], [*np.zeros(4), *axial]], np.float32)
        freqs = np.repeat(fixed[:, None], heads, axis=1)
        if mixed:
            freqs = freqs + make.rand(2, heads, 8, seed=stage)
        state |= {f"{at}.rope_freqs": freqs, f"{at}.rope_t_x": x, f"{at}.rope_t_y": y}
        state |= make.norm(f"layers.{stage}.blocks.0.norm1", 8)
    return state


@pytest.mark.parametrize("mixed", [False, True])
def test_swin_rope_turns_on_its_window_and_axial_is_told_from_mixed(make, mixed):
    state = swin_rope(make, mixed=mixed)

    (pe,) = extract(make.checkpoint(state))

    assert (pe.family, pe.grid_size, pe.num_heads) == ("rotary", (3, 4), 2)
    assert [table.layer for table in pe.tables] == ["layers.0.blocks.0", "layers.1.blocks.0"]
    assert pe.num_parameters == (2 * 2 * 2 * 8 if mixed else 0)
    freqs = state["layers.1.blocks.0.attn.rope_freqs"]
    x, y = positions((3, 4))
    expected = x[:, None] * freqs[0][:, None] + y[:, None] * freqs[1][:, None]
    assert_close(pe.tables[1].values, expected)
    assert "grid 3×4 read from rope_t_x" in pe.notes
    kind = "mixed: learned for each head" if mixed else "axial, and fixed: all heads alike"
    assert f"frequencies are {kind}" in pe.notes
    assert INTERLEAVED in pe.notes


def test_frequencies_that_blocks_keep_to_themselves(make):
    x, y = positions((3, 4))
    state, heads = make.deit(depth=2), 2
    for i in range(2):
        at = f"blocks.{i}.attn"
        state |= {f"{at}.freqs": make.rand(2, heads * 32, seed=i)}
        state |= {f"{at}.freqs_t_x": x, f"{at}.freqs_t_y": y}

    (pe,) = extract(make.checkpoint(state))

    freqs = state["blocks.1.attn.freqs"].reshape(2, heads, 1, 32)
    expected = x[:, None] * freqs[0] + y[:, None] * freqs[1]
    assert_close(pe.tables[1].values, expected)
    assert pe.num_parameters == 2 * 2 * heads * 32
    assert "2 heads of 64 channels assumed (--num-heads)" in pe.notes


@pytest.mark.parametrize("half", [False, True])
def test_the_pairing_of_stored_cosines_is_detected(make, half):
    rope = RotaryEmbeddingCat(16, in_pixels=False, feat_shape=[3, 4], rotate_half=half)
    sines, cosines = rope.get_embed().chunk(2, dim=-1)
    state = make.deit(depth=2) | {"rope.freqs_sin": sines, "rope.freqs_cos": cosines}

    (pe,) = extract(make.checkpoint(state, grid_size=(3, 4)))

    picked = np.s_[:, :8] if half else np.s_[:, ::2]
    same_rotation(pe.tables[0].values[0], sines.numpy()[picked], cosines.numpy()[picked])
    assert (HALF if half else INTERLEAVED) in pe.notes


def test_eva02_s_tables_may_lie_in_its_blocks(make):
    rope = RotaryEmbeddingCat(16, in_pixels=False, feat_shape=[3, 4])
    sines, cosines = rope.get_embed().chunk(2, dim=-1)
    tables = {"blocks.0.attn.rope.freqs_sin": sines, "blocks.0.attn.rope.freqs_cos": cosines}

    (pe,) = extract(make.checkpoint(make.deit(depth=2) | tables, grid_size=(3, 4)))

    same_rotation(pe.tables[1].values[0], sines.numpy()[:, ::2], cosines.numpy()[:, ::2])


def test_a_table_that_fits_no_convention_has_none():
    table = np.random.default_rng(0).normal(size=(6, 8))

    assert pairing_of(table) is None
    assert first_of_pairs(table, None).shape == (6, 4)


def dinov3(grid_px, heads=2, **kwargs):
    from transformers import DINOv3ViTConfig, DINOv3ViTModel

    torch.manual_seed(0)
    config = DINOv3ViTConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=heads, intermediate_size=32,
        image_size=grid_px, patch_size=16, num_register_tokens=4, **kwargs,
    )  # fmt: skip
    return config, DINOv3ViTModel(config).eval()


def test_dinov3_is_computed_from_transformers_config_json(make):
    config, model = dinov3(48)
    checkpoint = replace(
        make.checkpoint(
            model.state_dict(), grid_size=(3, 4), num_heads=2, rope_theta=100.0, patch_size=(16, 16)
        ),
        metadata={"config": config.to_dict()},
    )

    (pe,) = extract(checkpoint)

    cosines, sines = model.rope_embeddings(torch.zeros(1, 3, 48, 64))
    assert (pe.grid_size, pe.num_prefix_tokens, pe.stored, len(pe.tables)) == ((3, 4), 5, False, 2)
    same_rotation(pe.tables[0].values[0], sines[:, :8].numpy(), cosines[:, :8].numpy())
    assert "computed from config.json: dinov3_vit, base 100, 16 channels" in pe.notes
    assert HALF in pe.notes


def test_transformers_and_timm_agree_on_dinov3(make):
    config, model = dinov3(48)
    checkpoint = make.checkpoint(model.state_dict(), grid_size=(5, 2), num_heads=2)
    (pe,) = extract(replace(checkpoint, metadata={"config": config.to_dict()}))

    embed = RotaryEmbeddingDinoV3(16, temperature=100).get_embed([5, 2]).numpy()

    same_rotation(pe.tables[0].values[0], embed[:, :8], embed[:, 16:24])


def test_pixtral_alternates_the_frequencies_of_its_axes(make):
    from transformers import PixtralVisionConfig, PixtralVisionModel

    config = PixtralVisionConfig(
        hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32,
        image_size=64, patch_size=16,
    )  # fmt: skip
    model = PixtralVisionModel(config).eval()
    places = torch.cartesian_prod(torch.arange(3), torch.arange(4))
    cosines, sines = model.patch_positional_embedding(torch.zeros(1), places)
    checkpoint = make.checkpoint(
        model.state_dict(), grid_size=(3, 4), num_heads=2, rope_theta=10000.0
    )

    (pe,) = extract(replace(checkpoint, metadata={"config": config.to_dict()}))

    same_rotation(
        pe.tables[0].values[0],
        sines[:, :8].detach().numpy(),
        cosines[:, :8].detach().numpy(),
    )


def test_a_config_whose_heads_do_not_divide_its_width_is_refused(make):
    config, model = dinov3(48)
    checkpoint = make.checkpoint(model.state_dict(), grid_size=(3, 4), num_heads=5)

    message = "says hidden_size 32 and num_attention_heads 5, which give no head_dim"
    with pytest.raises(AmbiguousCheckpoint, match=re.escape(message)):
        extract(replace(checkpoint, metadata={"config": config.to_dict()}))


def unread(name, make):
    with torch.device("meta"):
        shapes = timm.create_model(name).state_dict()
    return {key: make.unread(*tensor.shape) for key, tensor in shapes.items()}


def test_gemma_turns_half_a_head_by_x_and_half_by_y(make):
    state = unread("gemma4_vit_167m_enc", make)
    hints = {"arch": "timm:gemma4_vit_167m_enc", "grid_size": (2, 3), "family": "rotary"}

    (pe,) = extract(make.checkpoint(state, **hints))

    frequencies = 100.0 ** (-2 * np.arange(16) / 32)  # 64 channels a head
    x, y = positions((2, 3))
    expected = np.concatenate([np.outer(x, frequencies), np.outer(y, frequencies)], axis=1)
    assert_close(pe.tables[0].values[0], expected)
    assert any("a quarter of a head apart" in note for note in pe.notes)


@pytest.mark.parametrize(
    ("name", "grid"),
    [
        ("gemma4_vit_167m_enc", (48, 48)),
        ("qwen3_vit_88m", (48, 48)),
        ("deepseek_vit_412m_enc", (39, 39)),
        ("vit_base_patch16_sapiens2", (64, 48)),
    ],
)
def test_other_classes_of_timm_say_their_own_grid(make, name, grid):
    state = unread(name, make)

    *_, pe = extract(make.checkpoint(state, arch=f"timm:{name}", family="rotary"))

    assert (pe.family, pe.grid_size, pe.stored) == ("rotary", grid, False)


def test_positions_are_not_shifted_as_they_are_in_training(make):
    state = unread("vit_base_patch16_sapiens2", make)

    *_, pe = extract(make.checkpoint(state, arch="timm:vit_base_patch16_sapiens2", family="rotary"))

    embed = RotaryEmbeddingDinoV3(64, temperature=100).get_embed([64, 48]).numpy()
    same_rotation(pe.tables[0].values[0], embed[:, :32], embed[:, 64:96])


@pytest.mark.parametrize(
    "rope",
    [
        RotaryEmbeddingMRope(24, mrope_section=(4, 4, 4)),
        RotaryEmbedding(16, in_pixels=False),
        RotaryEmbeddingCat(16, in_pixels=False, ref_feat_shape=[2, 2], rotate_half=True),
    ],
)
def test_every_rotary_module_of_timm_is_asked_in_its_own_way(rope):
    """NaFlex may have any of them, and no architecture of that kind is registered."""
    sines, cosines = rotary_table(SimpleNamespace(rope=rope), (3, 4))

    embed = rope.get_embed([3, 4])
    expected = embed if isinstance(embed, tuple) else embed.chunk(2, dim=-1)
    assert_close(sines, expected[0].numpy())
    assert_close(cosines, expected[1].numpy())
    is_half = getattr(rope, "rotate_half", True)
    assert pairing_of(cosines) == ("half" if is_half else "interleaved")
