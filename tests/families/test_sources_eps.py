"""The eps that the names give away is the one that timm's own modules have."""

from __future__ import annotations

import re

import pytest
import timm
import torch

from pe_inspect.families.reading.norms import epsilon
from pe_inspect.families.trunk import Trunk
from pe_inspect.loading import Checkpoint

FAMILIES = [
    "vitamin_small_224",
    *("beit3_base_patch16_224", "eva02_base_patch16_clip_224", "coat_tiny", "davit_tiny"),
    *("davit_base_fl", "gcvit_xxtiny", "samvit_base_patch16", "samvit_base_patch16_224"),
    *("vit_small_r26_s32_224", "vit_small_resnet26d_224", "volo_d1_224", "efficientformer_l1"),
    *(
        "maxvit_tiny_tf_224",
        "maxvit_tiny_rw_224",
        "coatnet_0_rw_224",
        "swin_tiny_patch4_window7_224",
    ),
    *("aimv2_large_patch14_224", "vit_small_patch16_dinov3", "vit_base_patch32_clip_224"),
]


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_is_known_by_its_names(name):
    with torch.device("meta"):
        model = timm.create_model(name)
    norms = [
        module.eps
        for path, module in model.named_modules()
        if re.search(r"(?:^|\.)(?:norm1|in_norm)$", path)
        and hasattr(module, "eps")
        and not isinstance(module, torch.nn.BatchNorm2d)
    ]

    eps, note = epsilon(Trunk(Checkpoint.from_state_dict(model.state_dict(), source=name)))

    assert eps == norms[0]
    assert note == f"eps {eps:g} assumed (no checkpoint stores it): --ln-eps"
