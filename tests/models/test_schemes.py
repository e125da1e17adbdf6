"""What each scheme computes, against its definition or against the library that has it."""

from __future__ import annotations

import math

import pytest
import timm.layers
import torch
from closeness import ROUNDING, assert_close
from hypothesis import given, settings
from hypothesis import strategies as st
from timm.models.xcit import PositionalEncodingFourier
from torch.nn import functional

from pe_inspect.errors import UsageError
from pe_inspect.models import ViTConfig
from pe_inspect.models.config import JOINS, SCHEMES
from pe_inspect.models.schemes import schemes
from pe_inspect.models.vit import VisionTransformer

GRID = (3, 4)
PLACES = [(y, x) for y in range(3) for x in range(4)]


def combinations() -> list[tuple[str, str]]:
    return [(scheme, join) for scheme, joins in SCHEMES.items() for join in joins]


def test_every_scheme_of_the_config_has_a_file_and_the_other_way_round() -> None:
    assert sorted(schemes) == sorted(SCHEMES)
    assert {join for _, join in combinations()} == set(JOINS)


@pytest.mark.parametrize(("scheme", "join"), combinations())
@pytest.mark.parametrize(
    "tokens",
    [
        {},
        {"no_embed_class": True},
        {"distilled": True, "reg_tokens": 2},
        {"class_token": False, "global_pool": "avg", "init_values": 0.1, "in_chans": 1},
    ],
    ids=["cls", "no cls row", "distilled with registers", "mean"],
)
def test_the_count_in_closed_form_is_that_of_the_model(
    scheme: str, join: str, tokens: dict[str, object], vit
) -> None:
    model = vit(scheme=scheme, join=join, **tokens)
    assert sum(p.numel() for p in model.parameters()) == model.config.num_parameters
    assert ViTConfig.from_dict(model.config.to_dict()) == model.config


@pytest.mark.parametrize(("scheme", "join"), combinations())
def test_every_parameter_is_trained_under_autocast(scheme: str, join: str, vit, images) -> None:
    model = vit(scheme=scheme, join=join).train()
    with torch.autocast("cpu", torch.bfloat16):
        loss = model(images()).float().square().mean()
    loss.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


@pytest.mark.parametrize(("scheme", "join"), combinations())
@torch.no_grad()
def test_other_resolutions_run_and_the_own_one_is_as_before(
    scheme: str, join: str, vit, images
) -> None:
    model = vit(scheme=scheme, join=join)
    before = model(images())
    if (scheme, join) in (("rel_bias_1d", "lape"), ("rel_bias_2d", "lape")):
        with pytest.raises(UsageError, match="one feature a patch of the 3×4 grid, and no rule"):
            model(images(20, 16))
    else:
        assert model(images(20, 16)).isfinite().all()
    torch.testing.assert_close(model(images()), before, atol=0, rtol=0)


def test_images_that_are_no_whole_number_of_patches_name_the_nearest_that_are(vit, images) -> None:
    with pytest.raises(UsageError, match="13×30 pixels are no whole number of 4×8 patches; resize"):
        vit()(images(13, 30))
    with pytest.raises(UsageError, match=r"2×32 pixels .* resize them to e\.g\. 4×32"):
        vit()(images(2, 32))


@pytest.mark.parametrize(
    ("scheme", "join"),
    [("none", "none"), ("relative", "layer"), ("learned", "lape"), ("rope_mixed", "layer")],
)
@torch.no_grad()
def test_only_a_model_without_positions_takes_patches_as_a_set(
    scheme: str, join: str, vit, images
) -> None:
    model, picture = vit(scheme=scheme, join=join), images()
    shuffled = picture.roll(8, dims=3)  # one patch to the right
    same = torch.allclose(model(picture), model(shuffled), atol=1e-5)
    assert same == (scheme == "none")


@torch.no_grad()
def test_fixed_tables_are_those_of_their_definitions(vit) -> None:
    one, two = vit(scheme="sincos1d").pos_embed[0], vit(scheme="sincos2d").pos_embed[0]
    for row in range(13):
        for i in range(24):
            angle = row / 10000 ** (2 * (i // 2) / 24)
            wanted = math.sin(angle) if i % 2 == 0 else math.cos(angle)
            assert one[row, i].item() == pytest.approx(wanted, abs=ROUNDING)
    assert not two[0].any()
    for row, (y, x) in enumerate(PLACES, start=1):
        for i in range(24):
            angle = (x if i < 12 else y) / 10000 ** (2 * (i % 12 // 2) / 12)
            wanted = math.sin(angle) if i % 2 == 0 else math.cos(angle)
            assert two[row, i].item() == pytest.approx(wanted, abs=ROUNDING)


@pytest.mark.parametrize("scheme", ["sincos1d", "sincos2d"])
def test_a_fixed_table_of_another_grid_is_that_models_own(scheme: str, vit) -> None:
    other = vit(scheme=scheme, img_size=(20, 16))
    model = vit(scheme=scheme)
    torch.testing.assert_close(model.tables((5, 2))[0], other.pos_embed, atol=0, rtol=0)
    assert "pos_embed" not in dict(model.named_parameters())


def test_a_learned_table_is_resampled_as_timm_does(vit) -> None:
    model = vit()
    wanted = timm.layers.resample_abs_pos_embed(model.pos_embed, [5, 2], [3, 4])
    torch.testing.assert_close(model.tables((5, 2))[0], wanted, atol=0, rtol=0)


@pytest.mark.parametrize("grid", [GRID, (5, 2)])
@torch.no_grad()
def test_fourier_is_that_of_xcit(grid: tuple[int, int], vit) -> None:
    model = vit(scheme="fourier")
    theirs = PositionalEncodingFourier(dim=24)
    theirs.load_state_dict(model.pos_embed.state_dict())
    wanted = theirs(1, *grid).flatten(2).transpose(1, 2)
    table = model.tables(grid)[0]
    assert_close(table[:, 1:], wanted, operations=32)
    assert not table[:, :1].any()


@pytest.mark.parametrize("grid", [GRID, (5, 2)])
@torch.no_grad()
def test_relative_vectors_meet_queries_and_are_carried_by_values(
    grid: tuple[int, int], vit
) -> None:
    attn = vit(scheme="relative").blocks[0].attn
    places = [None, *((y, x) for y in range(grid[0]) for x in range(grid[1]))]
    x = torch.randn(2, len(places), 24, generator=torch.Generator().manual_seed(2))
    q, k, v = attn.qkv(x).reshape(2, -1, 3, 3, 8).permute(2, 0, 3, 1, 4)
    logits, carried = q @ k.transpose(2, 3), torch.zeros(2, 3, len(places), 8)
    for i, a in enumerate(places):
        for j, b in enumerate(places):
            logits[:, :, i, j] += q[:, :, i] @ vector(attn.query_pos_embedding, a, b)
    weights = (logits / 8**0.5).softmax(-1)
    for i, a in enumerate(places):
        for j, b in enumerate(places):
            carried[:, :, i] += weights[:, :, i, j, None] * vector(attn.value_pos_embedding, a, b)
    wanted = attn.proj((weights @ v + carried).transpose(1, 2).flatten(2))
    assert_close(attn(x, grid), wanted, operations=32)


def vector(tables: torch.nn.Module, query: tuple | None, key: tuple | None) -> torch.Tensor:
    """The row of x beside the row of y: key − query, clipped to ±2; row 0 with CLS."""
    rows = [0, 0]
    if query and key:
        rows = [max(-2, min(2, key[axis] - query[axis])) + 3 for axis in (1, 0)]
    x, y = tables.x_relative_embedding_table.weight, tables.y_relative_embedding_table.weight
    return torch.cat((x[rows[0]], y[rows[1]]))


@pytest.mark.parametrize("scheme", ["rel_bias_1d", "rel_bias_2d"])
@torch.no_grad()
def test_a_bias_is_looked_up_by_offset(scheme: str, vit) -> None:
    attn = vit(scheme=scheme).blocks[1].attn
    bias, table = attn.joined_bias(GRID), attn.relative_position_bias_table
    assert not bias[:, 0].any()
    assert not bias[:, :, 0].any()
    for i, (y, x) in enumerate(PLACES):
        for j, (below, right) in enumerate(PLACES):
            row = (y - below + 2) * 7 + (x - right + 3) if scheme == "rel_bias_2d" else i - j + 11
            torch.testing.assert_close(bias[:, i + 1, j + 1], table[row])


@torch.no_grad()
def test_a_bias_table_of_another_grid_is_swins(vit) -> None:
    attn = vit(scheme="rel_bias_2d").blocks[0].attn
    field = attn.relative_position_bias_table.T.reshape(1, 3, 5, 7)
    wanted = functional.interpolate(field, (9, 3), mode="bicubic", align_corners=False)[0]
    bias = attn.bias((5, 2))
    for i, (y, x) in enumerate((y, x) for y in range(5) for x in range(2)):
        torch.testing.assert_close(bias[:, i, 0], wanted[:, y + 4, x + 1])


@torch.no_grad()
def test_lape_normalises_a_bias_over_its_keys(vit) -> None:
    attn = vit(scheme="rel_bias_2d", join="lape").blocks[0].attn
    norm = attn.pe_norm
    wanted = functional.layer_norm(attn.bias(GRID), (12,), norm.weight, norm.bias, eps=1e-5)
    torch.testing.assert_close(attn.joined_bias(GRID)[:, 1:, 1:], wanted)


@pytest.mark.parametrize("grid", [GRID, (5, 2)])
@torch.no_grad()
def test_the_network_behind_a_bias_is_that_of_timm(grid: tuple[int, int], vit) -> None:
    attn = vit(scheme="rel_bias_mlp").blocks[0].attn
    theirs = timm.layers.RelPosMlp(
        grid, 3, hidden_dim=512, prefix_tokens=1, mode="swin", pretrained_window_size=GRID
    )
    theirs.eval().mlp.load_state_dict(attn.rel_pos.mlp.state_dict())
    assert_close(attn.joined_bias(grid), theirs.get_bias()[0], operations=32)


@pytest.mark.parametrize("compat", [False, True])
@pytest.mark.parametrize("grid", [GRID, (5, 2)])
@torch.no_grad()
def test_axial_rotation_multiplies_pairs_by_unit_numbers(
    grid: tuple[int, int], compat: bool, vit
) -> None:
    model = vit(scheme="rope_axial", schh_compat=compat, embed_dim=48)  # 16 channels a head
    attn, rotation = model.blocks[0].attn, model.rope(grid)
    tokens = torch.randn(1, 1 + grid[0] * grid[1], 48, generator=torch.Generator().manual_seed(3))
    q, k, v = attn.qkv(tokens).reshape(1, -1, 3, 3, 16).permute(2, 0, 3, 1, 4)
    first = 1 if compat else 0
    for row, (y, x) in enumerate(((y, x) for y in range(grid[0]) for x in range(grid[1])), start=1):
        for pair in range(8):
            place = (x if pair < 4 else y) + first
            angle = torch.tensor(place * 10000 ** (-(pair % 4 + first) / 4))
            turn = torch.polar(torch.tensor(1.0), angle)
            for side in (q, k):
                both = slice(2 * pair, 2 * pair + 2)
                turned = torch.view_as_complex(side[0, :, row, both].contiguous()) * turn
                side[0, :, row, both] = torch.view_as_real(turned)
    wanted = functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
    assert_close(attn(tokens, grid, rotation), attn.proj(wanted), operations=32)


def test_the_fastest_frequency_of_schh_is_the_root_of_ten_lower(vit) -> None:
    ours, theirs = (
        ViTConfig(scheme="rope_axial", embed_dim=128, num_heads=4, schh_compat=compat)
        for compat in (False, True)
    )
    angles = [
        torch.atan2(rope.freqs_sin, rope.freqs_cos)[1, 0]
        - torch.atan2(rope.freqs_sin, rope.freqs_cos)[0, 0]
        for rope in (schemes["rope_axial"](config).rotations() for config in (ours, theirs))
    ]
    assert angles[0].item() == pytest.approx(1.0)
    assert angles[1].item() == pytest.approx(10**-0.5)


@torch.no_grad()
def test_mixed_rotation_is_that_of_timm(vit, images) -> None:
    model = vit(scheme="rope_mixed")
    theirs = timm.layers.RotaryEmbeddingMixed(24, 2, 3, feat_shape=[3, 4])
    theirs.load_state_dict(model.rope.state_dict())
    torch.testing.assert_close(model.rope(GRID), theirs.get_embed())
    torch.testing.assert_close(model.rope((5, 2)), theirs.get_embed([5, 2]))
    model.rope.freqs[:, 0] = 0  # each block has its own
    first, second = model.rope(GRID)
    assert not first[..., :8].any()
    assert second[..., :8].any()


def test_rotary_frequencies_follow_the_base(vit) -> None:
    own = vit(scheme="rope_axial").rope
    other = vit(scheme="rope_axial", rope_theta=100.0).rope
    assert torch.equal(own.freqs_cos[:, :2], other.freqs_cos[:, :2])
    # 8 channels a head are 2 pairs an axis: base^(−1/2) is 0.01, and 0.1
    slow = [torch.asin(rope.freqs_sin[1, 2]).item() for rope in (own, other)]
    assert slow == pytest.approx([0.01, 0.1])


@pytest.mark.parametrize("position", [-1, 0, 1])
@torch.no_grad()
def test_peg_convolves_the_patches_after_its_block(position: int, vit, images) -> None:
    model = vit(scheme="peg", peg_position=position)
    seen: dict[str, torch.Tensor] = {}
    model.pos_block[0].register_forward_hook(lambda _m, args, out: seen.update(x=args[0], y=out))
    model(images())
    x = torch.cat((model.cls_token.expand(2, 1, 24), model.patch_embed(images())), dim=1)
    for block in list(model.blocks)[: position + 1]:
        x = block(x)
    torch.testing.assert_close(seen["x"], x[:, 1:])
    conv = model.pos_block[0].proj[0]
    field = x[:, 1:].transpose(1, 2).reshape(2, 24, 3, 4)
    added = functional.conv2d(
        functional.pad(field, (1, 1, 1, 1)), conv.weight, conv.bias, groups=24
    )
    torch.testing.assert_close(seen["y"], x[:, 1:] + added.flatten(2).transpose(1, 2))


@torch.no_grad()
def test_raw_patches_are_pixels_in_the_order_of_a_kernel(images, vit) -> None:
    model = vit(patch_projection=False, embed_dim=96)
    picture, kernel = images(), torch.eye(96).reshape(96, 3, 4, 8)
    wanted = functional.conv2d(picture, kernel, stride=(4, 8)).flatten(2).transpose(1, 2)
    torch.testing.assert_close(model.patch_embed(picture), wanted)
    assert not [key for key in model.state_dict() if key.startswith("patch_embed")]
    assert {"pos_embed", "cls_token"} <= set(model.state_dict())


def test_embeddings_are_named_for_the_optimiser(vit) -> None:
    assert vit(join="unshare", distilled=True).no_weight_decay() == {
        "cls_token", "dist_token", "pos_embed0", "pos_embed1",
    }  # fmt: skip
    assert vit(scheme="rope_mixed").no_weight_decay() == {"cls_token", "rope.freqs"}
    assert (
        "blocks.1.attn.relative_position_bias_table" in vit(scheme="rel_bias_1d").no_weight_decay()
    )
    named = vit(scheme="relative").no_weight_decay()
    assert "blocks.0.attn.value_pos_embedding.y_relative_embedding_table.weight" in named
    assert len(named) == 1 + 2 * 4


@given(st.integers(1, 5), st.integers(1, 5), st.sampled_from(["rel_bias_1d", "rope_axial"]))
@settings(max_examples=25)
def test_a_model_of_any_grid_runs_at_any_other(rows: int, columns: int, scheme: str) -> None:
    config = ViTConfig(
        (4 * columns, 2 * rows), (4, 2), 1, 2, embed_dim=8, depth=1, num_heads=2, scheme=scheme
    )
    with torch.random.fork_rng(), torch.no_grad():
        logits = VisionTransformer(config)(torch.ones(1, 1, 4 * rows, 2 * columns))
    assert logits.isfinite().all()
