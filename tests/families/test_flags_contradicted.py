"""Flags that the tensors contradict are refused with both sides said, never dropped or obeyed."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from pe_inspect.errors import AmbiguousCheckpoint
from pe_inspect.families import extract


@pytest.fixture
def vit(make):
    """A ViT of width 8 with 3×4 patches of 4×4 pixels."""
    return make.lape("input", (3, 4))


def swin(make, windows=((3, 4), (3, 4)), heads=(3, 6)):
    """Two stages of one block each, and what shows that they are a Swin's."""
    state = {"patch_embed.proj.weight": make.rand(12, 3, 4, 4)}
    for i, ((rows, columns), many) in enumerate(zip(windows, heads)):
        at, offsets = f"layers.{i}.blocks.0", (2 * rows - 1) * (2 * columns - 1)
        state |= make.norm(f"{at}.norm1", 12 * 2**i)
        state[f"{at}.attn.relative_position_bias_table"] = make.rand(offsets, many, seed=i)
    return state


def refusal(message):
    return pytest.raises(AmbiguousCheckpoint, match=re.escape(message))


@pytest.mark.parametrize(
    ("who", "way_out"),
    [
        ("--patch-size", "Leave --patch-size out."),
        ("config.json", "One of the two is of another model."),
    ],
)
def test_a_patch_size_that_is_not_the_kernel_s_is_refused(make, vit, who, way_out):
    said = {"patch_size": (2, 2), "grid_size": (3, 4), "origins": {"patch_size": who}}

    with refusal(
        f"{who} says patches of 2×2 pixels, and the kernel that makes them in x.pth is 4×4. "
        f"{way_out}"
    ):
        extract(make.checkpoint(vit, **said))


def test_a_patch_size_among_the_arguments_of_the_file_yields_to_the_kernel(make, vit):
    said = {"patch_size": (2, 2), "img_size": (12, 16), "origins": {"patch_size": "args"}}
    (pe,) = extract(make.checkpoint(vit, **said))

    assert (pe.patch_size, pe.grid_size) == ((4, 4), (3, 4))
    assert "patch size 4×4 from the kernel; args says 2×2" in pe.notes


@pytest.mark.parametrize(
    ("tensors", "note"),
    [
        ({"patch_embed.proj.weight": (8, 3, 7, 7)}, "; the first kernel is 7×7"),
        ({"patch_embed.backbone.stem.conv.weight": (8, 3, 7, 7)}, ": no kernel shows it"),
    ],
)
def test_a_kernel_that_is_not_the_patch_leaves_the_word_to_the_flag(make, vit, tensors, note):
    state = vit | {key: make.rand(*shape) for key, shape in tensors.items()}
    (pe,) = extract(make.checkpoint(state, patch_size=(4, 2), grid_size=(3, 4)))

    assert pe.patch_size == (4, 2)
    assert f"patch size 4×2 from --patch-size{note}" in pe.notes


@pytest.mark.parametrize(
    ("arch", "message"),
    [
        ("timm:resnet18", "--arch timm:resnet18 has no blocks, x.pth has 3. Name the arch"),
        (
            "timm:vit_tiny_patch16_224",
            "--arch timm:vit_tiny_patch16_224 has 12 blocks, x.pth has 3. Name the arch",
        ),
    ],
)
def test_an_architecture_of_another_depth_is_refused(make, vit, arch, message):
    with refusal(message):
        extract(make.checkpoint(vit, grid_size=(3, 4), arch=arch))


def test_an_architecture_of_another_width_is_refused(make):
    state = make.lape("input", (3, 4), depth=12)
    said = {"grid_size": (3, 4), "arch": "timm:vit_tiny_patch16_224"}

    with refusal("--arch timm:vit_tiny_patch16_224 has embed_dim 192, x.pth has 8."):
        extract(make.checkpoint(state, **said))


def test_heads_that_do_not_divide_the_width_are_refused(make, vit):
    (pe,) = extract(make.checkpoint(vit, grid_size=(3, 4), num_heads=4))

    assert pe.embed_dim == 8
    with refusal(
        "--num-heads says 5 heads; the attention of x.pth is 8 wide, which 5 do not divide. "
        "Leave --num-heads out."
    ):
        extract(make.checkpoint(vit, grid_size=(3, 4), num_heads=5))


def test_heads_that_no_bias_table_has_are_refused(make):
    (pe,) = extract(make.checkpoint(swin(make), grid_size=(3, 4), num_heads=3))

    assert pe.num_heads == 3
    with refusal("--num-heads says 5 heads; the bias tables of x.pth have 3, 6. Leave"):
        extract(make.checkpoint(swin(make), grid_size=(3, 4), num_heads=5))


def test_a_window_that_no_stage_has_is_refused_whatever_its_proportions(make):
    with refusal(
        "layers.0.blocks.0.attn.relative_position_bias_table has 35 rows; a 6×8 window has 165, "
        "or 168 with CLS. Windows that fit: 3×4, 4×3"
    ):
        extract(make.checkpoint(swin(make), grid_size=(6, 8)))


def test_a_window_that_one_stage_has_is_shrunk_for_the_others(make):
    state = swin(make, windows=((6, 8), (3, 4)))
    (pe,) = extract(make.checkpoint(state, grid_size=(6, 8)))

    assert [table.grid_size for table in pe.tables] == [(6, 8), (3, 4)]
    assert "window 3×4, as 6×8 in its proportions" in pe.notes


@pytest.mark.subprocess
def test_without_arch_timm_is_not_imported():
    program = (
        "import sys, numpy as np; from pe_inspect.families import extract; "
        "from pe_inspect.loading.checkpoint import Checkpoint, Hints; "
        "extract(Checkpoint.from_state_dict({'pos_embed': np.ones((1, 12, 8), 'f4')}, "
        "hints=Hints(grid_size=(3, 4), patch_size=(4, 4), num_heads=2))); "
        "sys.exit('timm' in sys.modules or 'torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
