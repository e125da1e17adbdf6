"""A baked file loads into the library's model for the new size, and gives the library's logits."""

from __future__ import annotations

import copy

import pytest
import timm
import torch
from closeness import assert_close
from safetensors.torch import load_file, save_file
from timm_cases import GRID, PX, SHORT, SMALL, Case, baked, check_rest, ids, images

import pe_inspect as pei

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

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
    Case("mvitv2_tiny", 128, 160, {"res": 160}),
    Case("coatnet_0_rw_224", 64, 96, {"grid": (6, 6)}),
    Case("maxvit_tiny_tf_224", 64, 96, {"grid": (3, 3)}),
    Case("tnt_s_legacy_patch16_224", 64, 96, {"grid": (6, 6)}, {}, {"depth": 2}),
]  # fmt: skip


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
    ("name", "step"), [("volo_d1_224", 16), ("hiera_tiny_224", 4), ("mvitv2_tiny", 4)]
)
def test_patches_behind_a_stem_or_that_overlap_are_not_made_of_another_size(name, step, tmp_path):
    model = timm.create_model(name, img_size=128)
    save_file({k: v.clone() for k, v in model.state_dict().items()}, tmp_path / "a.safetensors")
    with pytest.raises(pei.UsageError, match=f"--patch-size 8: .* {step} pixels apart"):
        pei.bake(
            pei.load(tmp_path / "a.safetensors"), tmp_path / "b.safetensors", res=64, patch_size=8
        )
    made = pei.bake(
        pei.load(tmp_path / "a.safetensors"), tmp_path / "b.safetensors", res=64, patch_size=step
    )
    assert made.grid_size == (64 // step, 64 // step)


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
        assert_close(found[key], value)
