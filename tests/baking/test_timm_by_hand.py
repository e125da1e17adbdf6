"""Families that timm cannot load at another size: a baked file has the logits of torch's tables."""

from __future__ import annotations

import re

import pytest
import torch
import torch.nn.functional as F
from closeness import assert_close
from safetensors.torch import load_file, save_file
from timm.layers import (
    AttentionPool2d,
    resample_abs_pos_embed,
    resize_rel_pos_bias_table,
    resize_rel_pos_bias_table_levit,
)
from timm.models.nest import resize_pos_embed
from timm_cases import GRID, PX, Case, baked, check_rest, ids, images

import pe_inspect as pei

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

SAM = {"depth": 4, "embed_dim": 48, "num_heads": 3}
PIXELS = {"res": (96, 128)}
CASES = [
    Case("volo_d1_224", 64, (96, 128), PIXELS),
    Case("cait_xxs24_224", (64, 96), (96, 160), PX, GRID, {"depth": 2}),
    Case("hiera_tiny_224", (64, 96), (96, 128), PIXELS, {"grid_size": (16, 24)},
         {"embed_dim": 24}),
    Case("pit_ti_224", 64, (96, 112), {"grid": (11, 13)}),
    Case("nest_tiny", 64, 96, {"grid": (24, 24)}),
    Case("crossvit_tiny_240", 240, (240, 480), {"grid": (20, 40)}),
    Case("convit_tiny", 64, 96, {"res": 96}, {}, {"depth": 3, "local_up_to_layer": 2}),
    Case("visformer_tiny", (64, 96), (96, 160), {"grid": (12, 20)}),
    Case("levit_128s", (64, 96), (96, 160), {"grid": (6, 10)}, GRID),
    Case("efficientformerv2_s0", 128, 192, {"grid": (12, 12)}),
    Case("gcvit_xxtiny", 64, 96, {"grid": (6, 6)}),
    Case("botnet26t_256", (128, 192), (192, 256), {"grid": (12, 16)}),
    Case("lambda_resnet26rpt_256", (128, 192), (192, 256), {"grid": (12, 16)}),
    Case("samvit_base_patch16_224", 224, 256, {"grid": (16, 16)}, {},
         {**SAM, "global_attn_indexes": (0, 1, 2, 3)}),
]  # fmt: skip


def resized(maps, size, **how):
    """(channels, rows, columns) by torch; bicubic with antialiasing, as timm's tables."""
    settings = {"mode": "bicubic", "antialias": True, "align_corners": False, **how}
    return F.interpolate(maps[None], size=size, **settings)[0]


def sides(count, like):
    """The rows and columns of so many patches on a grid of the proportions of another."""
    rows = round((count * like[0] / like[1]) ** 0.5)
    return rows, count // rows


def by_axis(old, new, _made):
    return F.interpolate(old.T[None], size=new.shape[0], mode="linear")[0].T


def by_distance(old, new, made):
    before, after = sides(old.shape[1], made.before), sides(new.shape[1], made.grid_size)
    return resized(old.reshape(-1, *before), after).flatten(1)


def by_offset(old, new, _made):
    """GC-ViT's table in timm's module for biases, by the function that timm has for such tables."""
    window = (round(new.shape[0] ** 0.5) + 1) // 2
    return resize_rel_pos_bias_table(old, (window, window), new.shape)


def by_pair(old, new, _made):
    return resized(old.permute(2, 0, 1), tuple(new.shape[:2]), mode="bilinear", antialias=False) \
        .permute(1, 2, 0)  # fmt: skip


def by_blocks(old, new, _made):
    return resize_pos_embed(old, new)


def by_place(old, new, made):
    if old.ndim == 4 and old.shape[1] == new.shape[1]:  # channels first
        return resized(old[0], tuple(new.shape[2:]))[None]
    if old.ndim == 4:
        return resized(old[0].permute(2, 0, 1), tuple(new.shape[1:3])).permute(1, 2, 0)[None]
    prefix = next(p for p in (0, 1) if fits(old.shape[1] - p, made.before))
    before = sides(old.shape[1] - prefix, made.before)
    after = sides(new.shape[1] - prefix, made.grid_size)
    return resample_abs_pos_embed(old, list(after), list(before), num_prefix_tokens=prefix)


def fits(count, like):
    rows, columns = sides(count, like)
    return rows * columns == count and rows * like[1] == columns * like[0]


RULES = (
    (r"rel_pos_[hw]$|(height|width)_rel$", by_axis),
    (r"attention_biases$", by_distance),
    (r"relative_position_bias_table$", by_offset),
    (r"self_attn\.pos_emb$", by_pair),
    (r"levels\.\d\.pos_embed$", by_blocks),
    (r"pos_embed", by_place),
)


def by_torch(before, fresh, made):
    """The old state dict, each table that changes resampled by torch or timm."""
    state = before.state_dict()
    for key in made.changed:
        rule = next(rule for pattern, rule in RULES if re.search(pattern, key))
        state[key] = rule(state[key], fresh[key], made)
    return state


def check_buffers(state, fresh):
    """Indices, masks and coordinates in the file are those of a model made at the new size."""
    for key, made in fresh.items():
        if key in state:
            assert torch.equal(state[key], made), key


@pytest.mark.parametrize("case", CASES, ids=ids(CASES))
@torch.no_grad()
def test_logits_are_those_of_tables_that_torch_resampled(case, tmp_path):
    before, state, model, made = baked(case, tmp_path, method="native")
    check_buffers(state, dict(model.named_buffers()))
    with pytest.raises(RuntimeError, match="size mismatch"):
        model.load_state_dict(before.state_dict())
    check_rest(before, state, made)
    x = images(case)
    model.load_state_dict(by_torch(before, model.state_dict(), made), strict=True)
    theirs = model(x)
    model.load_state_dict(state, strict=True)
    scale = max(1.0, float(theirs.abs().max()))  # of an untrained Visformer's logits: 600
    torch.testing.assert_close(model(x), theirs, atol=1e-4 * scale, rtol=0)


@pytest.mark.parametrize(
    ("name", "old", "new", "ask", "more"),
    [
        ("samvit_base_patch16", (256, 320), (320, 448), {"res": (320, 448)}, (1, 3)),
        ("samvit_base_patch16_224", 224, 288, {"grid": (18, 18)}, (0, 1, 2, 3)),
    ],
)
@torch.no_grad()
def test_sams_logits_are_those_of_its_own_resizing_of_every_image(
    name, old, new, ask, more, tmp_path
):
    case = Case(name, old, new, ask, {}, {**SAM, "global_attn_indexes": more})
    before, state, model, made = baked(case, tmp_path, method="native")
    model.load_state_dict(state, strict=True)
    check_rest(before, state, made)
    before.patch_embed.strict_img_size = False
    x = images(case)
    torch.testing.assert_close(model(x), before(x), atol=1e-4, rtol=0)


def test_levits_distances_are_what_timms_function_makes_of_them(tmp_path):
    case = Case("levit_128s", 64, 96, {"grid": (6, 6)})
    before, state, _, made = baked(case, tmp_path, method="levit")
    key = next(key for key in made.changed if key.endswith("attention_biases"))
    old = before.state_dict()[key]
    theirs = resize_rel_pos_bias_table_levit(old.T, (36, len(old))).T
    assert_close(state[key], theirs, operations=32)


def test_convits_positional_scores_are_said_to_need_nothing(tmp_path):
    case = next(case for case in CASES if case.name == "convit_tiny")
    *_, made = baked(case, tmp_path)
    assert list(made.changed) == ["pos_embed"]
    assert any("gated_positional needs nothing" in note for note in made.notes)


@torch.no_grad()
def test_the_table_of_an_attention_pool_is_on_the_new_grid(tmp_path):
    """CLIP's ResNets add it at their head, with a row for the mean of all patches."""
    before = AttentionPool2d(16, feat_size=(4, 6), num_heads=2).eval()
    torch.nn.init.normal_(before.pos_embed, std=0.5)
    state = {f"head.{key}": value for key, value in before.state_dict().items()}
    save_file(
        {**state, "layer1.0.conv1.weight": torch.ones(4, 4, 1, 1)}, tmp_path / "a.safetensors"
    )
    pei.bake(pei.load(tmp_path / "a.safetensors", **GRID), tmp_path / "b.safetensors", grid=(6, 10))
    made = {k: v for k, v in load_file(tmp_path / "b.safetensors").items() if "head." in k}
    after = AttentionPool2d(16, feat_size=(6, 10), num_heads=2).eval()
    after.load_state_dict({key.removeprefix("head."): value for key, value in made.items()})
    theirs = resample_abs_pos_embed(before.pos_embed[None], [6, 10], [4, 6], num_prefix_tokens=1)[0]
    assert_close(after.pos_embed, theirs, operations=32)
