"""A baked file loads into the library's model for the new size, and gives the library's logits."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file
from timm.layers import resample_abs_pos_embed, resize_rel_pos_bias_table_levit

import pe_inspect as pei

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

SMALL = {"depth": 2, "embed_dim": 48, "num_heads": 3}
WORDS = ("pos_emb", "patch_pos", "rel_pos", "relative", "attention_biases")
SHORT = {"depths": (1, 1, 1, 1)}


@dataclass(frozen=True)
class Case:
    """A timm model before and after, and how to ask for the new size."""

    name: str
    old: Any
    new: Any
    ask: dict[str, Any]
    load: dict[str, Any] = field(default_factory=dict)
    made: dict[str, Any] = field(default_factory=dict)
    remade: dict[str, Any] = field(default_factory=dict)

    def model(self, size, more):
        torch.manual_seed(0)
        return timm.create_model(
            self.name, img_size=size, num_classes=5, **{**self.made, **more}
        ).eval()


GRID = {"grid_size": (4, 6)}
PX = {"res": (96, 160)}
BY_TIMM = [
    Case("vit_tiny_patch16_224", (64, 96), (96, 160), PX, GRID, SMALL),
    Case("vit_base_patch16_siglip_224", (64, 96), (96, 160), PX, GRID, SMALL),
    Case("vit_wee_patch16_reg1_gap_256", (64, 96), (96, 160), PX, GRID, SMALL),
    Case("vit_so150m_patch16_reg4_gap_256", (64, 96), (96, 160), PX, GRID, SMALL),
    Case("vit_small_patch14_dinov2", (56, 84), (84, 140), {"res": (84, 140)}, GRID, SMALL),
    Case("vit_small_patch14_reg4_dinov2", (56, 84), (84, 140), {"res": (84, 140)}, GRID, SMALL),
    Case("deit_tiny_distilled_patch16_224", (64, 96), (96, 160), PX, GRID, SMALL),
    Case("deit3_small_patch16_224", (64, 96), (48, 64), {"res": (48, 64)}, GRID, SMALL),
    Case("beit_base_patch16_224", (64, 96), (96, 128), {"res": (96, 128)}, GRID, SMALL),
    Case("eva02_tiny_patch14_224", (56, 84), (84, 140), {"res": (84, 140)}, GRID, SMALL),
    Case("vit_tiny_r_s16_p8_224", (64, 96), (96, 160), {"grid": (3, 5)}, {"grid_size": (2, 3)},
         SMALL),
]  # fmt: skip
ON_LOAD = [
    Case("swin_tiny_patch4_window7_224", 64, 96, {"grid": (6, 6)}, {},
         {**SHORT, "window_size": 4, "embed_dim": 24, "num_heads": (1, 2, 3, 3)},
         {"window_size": 6}),
    Case("mvitv2_tiny", 128, 160, {"grid": (40, 40)}),
    Case("coatnet_0_rw_224", 64, 96, {"grid": (6, 6)}),
    Case("maxvit_tiny_tf_224", 64, 96, {"grid": (3, 3)}),
    Case("tnt_s_legacy_patch16_224", 64, 96, {"grid": (6, 6)}, {}, {"depth": 2}),
]  # fmt: skip
BY_HAND = [
    Case("volo_d1_224", 64, (96, 128), {"grid": (6, 8)}),
    Case("cait_xxs24_224", (64, 96), (96, 160), PX, GRID, {"depth": 2}),
    Case("hiera_tiny_224", 64, 96, {"grid": (24, 24)}),
    Case("pit_ti_224", 64, (96, 112), {"grid": (11, 13)}),
    Case("nest_tiny", 64, 96, {"grid": (24, 24)}),
    Case("crossvit_tiny_240", 240, 480, {"grid": (40, 40)}),
    Case("convit_tiny", 64, 96, {"res": 96}),
    Case("visformer_tiny", 64, 96, {"grid": (12, 12)}),
    Case("levit_128s", 64, 96, {"grid": (6, 6)}),
    Case("samvit_base_patch16_224", 224, 256, {"grid": (16, 16)}, {},
         {"depth": 4, "embed_dim": 48, "num_heads": 3, "global_attn_indexes": (0, 1, 2, 3)}),
    Case("botnet26t_256", 128, 192, {"grid": (12, 12)}),
    Case("lambda_resnet26rpt_256", 128, 192, {"grid": (12, 12)}),
]  # fmt: skip


def ids(cases):
    return [case.name for case in cases]


def baked(case, tmp_path, **more):
    """The model before, the state dict of the baked file, and the model for the new size."""
    before = case.model(case.old, {})
    source, target = tmp_path / "model.safetensors", tmp_path / "other.safetensors"
    state = {key: value.contiguous().clone() for key, value in before.state_dict().items()}
    for key, value in state.items():
        has_word = any(word in key for word in WORDS)
        if has_word and value.is_floating_point():
            torch.nn.init.normal_(value, std=0.5)
    before.load_state_dict(state)
    save_file(state, source, metadata={"format": "pt"})
    made = pei.bake(pei.load(source, **case.load), target, **{"method": "timm", **case.ask, **more})
    assert made.path == target
    return before, load_file(target), case.model(case.new, case.remade), made


def check_buffers(state, fresh):
    """Indices, masks and coordinates in the file are those of a model made at the new size."""
    for key, made in fresh.items():
        if key in state:
            assert torch.equal(state[key], made), key


def images(case):
    size = case.new if isinstance(case.new, tuple) else (case.new, case.new)
    return torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(1))


def check_rest(before, state, made):
    """All other tensors are the same to the last bit."""
    for key, value in before.state_dict().items():
        assert key in made.changed or torch.equal(state[key], value)
        assert state[key].dtype == value.dtype


@pytest.mark.parametrize("case", BY_TIMM, ids=ids(BY_TIMM))
@torch.no_grad()
def test_logits_are_those_of_set_input_size(case, tmp_path):
    before, state, model, made = baked(case, tmp_path)
    model.load_state_dict(state, strict=True)
    check_rest(before, state, made)
    dynamic = copy.deepcopy(before)
    dynamic.set_input_size(img_size=case.new)
    x = images(case)
    torch.testing.assert_close(model(x), dynamic(x), atol=1e-4, rtol=0)


@pytest.mark.parametrize("case", ON_LOAD, ids=ids(ON_LOAD))
@torch.no_grad()
def test_logits_are_those_of_timms_own_resizing_on_load(case, tmp_path):
    before, state, model, made = baked(case, tmp_path)
    model.load_state_dict(state, strict=True)
    check_rest(before, state, made)
    overlay = {"state_dict": before.state_dict(), "num_classes": 5}
    theirs = timm.create_model(
        case.name, img_size=case.new, num_classes=5, pretrained=True,
        pretrained_cfg_overlay=overlay, **{**case.made, **case.remade},
    ).eval()  # fmt: skip
    x = images(case)
    torch.testing.assert_close(model(x), theirs(x), atol=1e-4, rtol=0)


@pytest.mark.parametrize("case", BY_HAND, ids=ids(BY_HAND))
@torch.no_grad()
def test_what_timm_cannot_load_at_another_size_loads_when_baked(case, tmp_path):
    before, state, model, made = baked(case, tmp_path)
    check_buffers(state, dict(model.named_buffers()))
    with pytest.raises(RuntimeError, match="size mismatch"):
        model.load_state_dict(before.state_dict())
    model.load_state_dict(state, strict=True)
    check_rest(before, state, made)
    assert model(images(case)).isfinite().all()


@pytest.mark.parametrize(
    ("name", "key", "prefix", "layout", "before_after"),
    [
        ("volo_d1_224", "pos_embed", 0, "NHWC", None),
        ("cait_xxs24_224", "pos_embed", 0, "rows", None),
        ("pit_ti_224", "pos_embed", 0, "NCHW", None),
        ("convit_tiny", "pos_embed", 0, "rows", None),
        ("hiera_tiny_224", "pos_embed", 0, "rows", None),
        ("crossvit_tiny_240", "pos_embed_0", 1, "rows", ((20, 20), (40, 40))),
        ("crossvit_tiny_240", "pos_embed_1", 1, "rows", ((14, 14), (28, 28))),
        ("visformer_tiny", "pos_embed1", 0, "NCHW", ((8, 8), (12, 12))),
        ("visformer_tiny", "pos_embed2", 0, "NCHW", ((4, 4), (6, 6))),
        ("visformer_tiny", "pos_embed3", 0, "NCHW", ((2, 2), (3, 3))),
    ],
)
def test_its_tables_are_what_timms_function_makes_of_them(
    name, key, prefix, layout, before_after, tmp_path
):
    case = next(case for case in BY_HAND if case.name == name)
    before, state, _, made = baked(case, tmp_path)
    table = before.state_dict()[key]
    if layout == "NCHW":
        table = table.permute(0, 2, 3, 1)
    rows = table.reshape(1, -1, table.shape[-1])
    old, new = before_after or (made.before, made.grid_size)
    theirs = resample_abs_pos_embed(rows, list(new), list(old), num_prefix_tokens=prefix)
    ours = state[key]
    ours = ours.permute(0, 2, 3, 1) if layout == "NCHW" else ours
    torch.testing.assert_close(ours.reshape(theirs.shape), theirs, atol=2e-6, rtol=0)  # of ±2


def test_nests_blocks_lie_side_by_side_on_one_grid(tmp_path):
    case = next(case for case in BY_HAND if case.name == "nest_tiny")
    before, state, _, _ = baked(case, tmp_path)
    for key, old in before.state_dict().items():
        if not key.endswith("pos_embed"):
            continue
        whole = blocks_as_grid(old)
        rows = whole.reshape(1, -1, old.shape[-1])
        sides = [list(whole.shape[:2]), list(blocks_as_grid(state[key]).shape[:2])]
        theirs = resample_abs_pos_embed(rows, sides[1], sides[0], num_prefix_tokens=0)
        ours = blocks_as_grid(state[key]).reshape(theirs.shape)
        torch.testing.assert_close(ours, theirs, atol=2e-6, rtol=0)  # of ±2


def blocks_as_grid(table):
    """(1, blocks, places, D), both square, as (rows, columns, D)."""
    _, blocks, places, width = table.shape
    b, p = round(blocks**0.5), round(places**0.5)
    return table.reshape(b, b, p, p, width).permute(0, 2, 1, 3, 4).reshape(b * p, b * p, width)


def test_levits_distances_are_what_timms_function_makes_of_them(tmp_path):
    case = next(case for case in BY_HAND if case.name == "levit_128s")
    before, state, _, made = baked(case, tmp_path, method="levit")
    key = next(key for key in made.changed if key.endswith("attention_biases"))
    old = before.state_dict()[key]
    theirs = resize_rel_pos_bias_table_levit(old.T, (36, len(old))).T
    torch.testing.assert_close(state[key], theirs, atol=1e-5, rtol=0)


@torch.no_grad()
def test_a_smaller_patch_resizes_the_kernel_as_flexivit_does(tmp_path):
    case = Case(
        "flexivit_small", (64, 96), (64, 80), {"res": (64, 80), "patch_size": 8}, GRID,
        {"depth": 2, "embed_dim": 48, "num_heads": 3}, {"patch_size": 8},
    )  # fmt: skip
    before, state, model, _ = baked(case, tmp_path)
    model.load_state_dict(state, strict=True)
    dynamic = copy.deepcopy(before)
    dynamic.set_input_size(img_size=(64, 80), patch_size=8)
    x = images(case)
    torch.testing.assert_close(model(x), dynamic(x), atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("name", "made", "ask", "why"),
    [
        ("twins_svt_small", SHORT, {"res": 96}, "conditional needs nothing"),
        ("xcit_nano_12_p8_224", {"depth": 2}, {"res": 96}, "fourier needs nothing"),
        ("coat_tiny", {}, {"res": 96}, "conv_relative needs nothing"),
        ("swinv2_tiny_window8_256", {**SHORT, "window_size": 4}, {"grid": (6, 6)},
         "its network is asked for the offsets of any window"),
        ("hiera_small_abswin_256", {}, {"grid": (24, 24)}, "resizes its global table"),
        ("naflexvit_base_patch16_gap", SMALL, {"grid": (6, 8)}, "resizes it for every image"),
    ],
)  # fmt: skip
def test_what_needs_nothing_says_so_and_writes_no_file(name, made, ask, why, tmp_path):
    size = {} if name.startswith("naflex") else {"img_size": 64}
    model = timm.create_model(name, **size, num_classes=5, **made)
    state = {key: value.contiguous().clone() for key, value in model.state_dict().items()}
    save_file(state, tmp_path / "model.safetensors")
    known = {"grid_size": (4, 4)} if name.startswith("swinv2") else {}
    checkpoint = pei.load(tmp_path / "model.safetensors", **known)
    found = pei.bake(checkpoint, tmp_path / "other.safetensors", **ask)
    assert found.path is None
    assert why in " ".join(found.notes)
    assert found.notes[-1] == "nothing to change: no file was written"
    assert not (tmp_path / "other.safetensors").exists()


def test_convits_positional_scores_are_said_to_need_nothing(tmp_path):
    case = next(case for case in BY_HAND if case.name == "convit_tiny")
    *_, made = baked(case, tmp_path)
    assert list(made.changed) == ["pos_embed"]
    assert any("gated_positional needs nothing" in note for note in made.notes)


def test_swin_v2s_stored_coordinates_and_indices_are_those_of_the_new_window(tmp_path):
    def make(size, window, **more):
        return timm.create_model("swinv2_tiny_window8_256", img_size=size, window_size=window,
                                 num_classes=5, **SHORT, **more)  # fmt: skip

    old, new = make(64, 4), make(96, 6, pretrained_window_sizes=(4, 4, 4, 4))
    words = ("relative_coords_table", "relative_position_index")
    kept = {key: value for key, value in old.named_buffers() if key.endswith(words)}
    state = {k: v.contiguous().clone() for k, v in {**old.state_dict(), **kept}.items()}
    save_file(state, tmp_path / "old.safetensors")
    pei.bake(pei.load(tmp_path / "old.safetensors"), tmp_path / "new.safetensors", grid=(6, 6))
    found = load_file(tmp_path / "new.safetensors")
    wanted = {
        key: value
        for key, value in new.named_buffers()
        if key.endswith(words) and key.startswith("layers.0.")
    }
    assert len(wanted) == 2
    for key, value in wanted.items():
        torch.testing.assert_close(found[key], value, atol=1e-6, rtol=0)
