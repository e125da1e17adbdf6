"""Positions inside timm's own models; the oracles are timm's dynamic path and its weights."""

from __future__ import annotations

import math
from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pytest
import timm
import torch

from pe_inspect.analysis.interpolate import interpolate
from pe_inspect.evaluation.images import permute_patches
from pe_inspect.families import extract
from pe_inspect.live.change import Change, NotApplicable
from pe_inspect.live.host import host_of
from pe_inspect.live.rebuild import rebuild
from pe_inspect.loading.checkpoint import Checkpoint, Hints

SMALL = {"embed_dim": 32, "depth": 2, "num_heads": 2, "patch_size": 8}
SEED = 3
MODELS = {
    "vit_tiny_patch16_224": SMALL,
    "deit_tiny_distilled_patch16_224": SMALL,
    "vit_small_patch14_reg4_dinov2": {**SMALL, "init_values": 0.5},
    "beit_base_patch16_224": {**SMALL, "init_values": 0.5},
    "eva02_tiny_patch14_224": {},  # of these two the file does not show the rotation
    "vit_small_patch16_rope_mixed_224": {},
}
GRIDS = {"eva02_tiny_patch14_224": (6, 7)}  # on fewer patches its fastest angle is past π a patch
PATCHES = {"eva02_tiny_patch14_224": 14, "vit_small_patch16_rope_mixed_224": 16}


@pytest.fixture(scope="module", params=MODELS)
def named(request):
    return request.param


@pytest.fixture(scope="module")
def hosted(named):
    """A small model of an architecture with random weights, its host and its embeddings."""
    return make(named)


def own_grid(name):
    return GRIDS.get(name, (3, 5))


def sized(name, grid=None):
    patch = PATCHES.get(name, 8)
    rows, columns = grid or own_grid(name)
    return rows * patch, columns * patch


def built(name, **more):
    torch.manual_seed(0)
    shape = {"img_size": sized(name), "num_classes": 7, **MODELS[name], **more}
    model = timm.create_model(name, **shape)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.4 if MODELS[name] else 0.1)
    return model.eval()


def make(name):
    model = built(name)
    size = sized(name)
    said = {"arch": f"timm:{name}", "img_size": size, "grid_size": own_grid(name)}
    config = {"model_args": {**MODELS[name], "img_size": list(size)}}
    checkpoint = replace(
        Checkpoint.from_state_dict(model.state_dict(), source="x.safetensors"),
        hints=Hints(**said, origins=dict.fromkeys(said, "config.json")),
        metadata={"config": config},
    )
    tables = extract(checkpoint, with_sha256=False)
    return model, host_of(rebuild(checkpoint), tables), tables


def images(size):
    return torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def logits(model, size, under=None):
    with under or nullcontext():
        return model(images(size))


def test_the_host_is_at_the_size_of_the_weights(hosted, named):
    model, host, _ = hosted
    size = sized(named)
    assert (host.res, host.own_res, host.grid_of(host.tables[0])) == (size, size, own_grid(named))
    assert (host.num_classes, host.in_chans) == (7, 3)
    torch.testing.assert_close(logits(host.model, size), logits(model, size))


@pytest.mark.parametrize("grid", [(7, 6), (4, 7)])
@pytest.mark.filterwarnings("ignore::UserWarning:timm")
def test_native_at_another_size_is_timms_dynamic_path(named, hosted, grid):
    _, host, _ = hosted
    size = sized(named, grid)
    if "beit" in named:  # its windows are fixed: timm has no dynamic path for it
        expected = built(named)
        expected.set_input_size(size)
    else:
        expected = built(named, dynamic_img_size=True)
    got = logits(host.at(size).model, size)
    torch.testing.assert_close(got, logits(expected, size), rtol=0, atol=1e-4)


def test_timms_rule_put_in_gives_the_same_logits_and_another_rule_others(hosted, named):
    _, host, tables = hosted
    size = sized(named, (7, 6))
    other = host.at(size)
    own = logits(other.model, size)
    for pe in tables:
        for method, is_own in ((timms_rule(pe, named), True), (another_rule(pe, named), False)):
            found = interpolate(pe, grid=other.grid_of(pe), method=method)
            apart = (
                (logits(other.model, size, other.put(found.pe, found.embedding(method))) - own)
                .abs()
                .max()
            )
            assert apart <= 1e-4 if is_own else apart > 2e-5


def timms_rule(pe, name):
    return ("rescale" if "eva02" in name else "extrapolate") if pe.kind == "phases" else "timm"


def another_rule(pe, name):
    return ("extrapolate" if "eva02" in name else "rescale") if pe.kind == "phases" else "nearest"


def test_shuffled_positions_are_patches_that_trade_places(hosted, named):
    _, host, _ = hosted
    patches = math.prod(own_grid(named))
    order = torch.from_numpy(np.random.default_rng(SEED).permutation(patches))
    moved = permute_patches(images(host.res), host.patch_size, order.argsort().expand(2, -1))
    with torch.no_grad():
        expected = host.model(moved)
    shuffled = logits(host.model, host.res, host.change(Change(seed=SEED)))
    torch.testing.assert_close(shuffled, expected, rtol=1e-3, atol=1e-3)
    assert (shuffled - logits(host.model, host.res)).abs().max() > 1e-4


def test_without_positions_the_patches_are_a_set(hosted, named):
    _, host, _ = hosted
    backwards = torch.arange(math.prod(own_grid(named))).flip(0).expand(2, -1)
    turned = permute_patches(images(host.res), host.patch_size, backwards)
    with torch.no_grad(), host.change(Change(0.0)):
        torch.testing.assert_close(
            host.model(turned), host.model(images(host.res)), rtol=1e-3, atol=1e-3
        )


def test_permuted_pixels_are_permuted_tokens():
    """RPI as it is defined: the tokens behind the patch embedding trade places."""
    model = built("vit_tiny_patch16_224")
    random = torch.Generator().manual_seed(1)
    orders = torch.stack([torch.randperm(15, generator=random) for _ in range(2)])
    with torch.no_grad():
        got = model(permute_patches(images((24, 40)), (8, 8), orders))
        move = orders[..., None].expand(-1, -1, 32)
        hook = model.patch_embed.register_forward_hook(lambda _m, _i, out: out.gather(1, move))
        torch.testing.assert_close(got, model(images((24, 40))), rtol=1e-4, atol=1e-4)
    hook.remove()


def test_a_table_that_timm_keeps_elsewhere_is_left_alone():
    _, host, _ = make("vit_tiny_patch16_224")
    host.own.pos_embed = None
    with pytest.raises(NotApplicable, match="VisionTransformer does not keep this table as"):
        logits(host.model, host.res, host.change(Change(0.0)))


def test_the_windows_of_a_computed_bias_are_timms_and_nothing_can_be_put_there():
    size = {"embed_dim": 24, "depths": (1, 1), "num_heads": (1, 2), "num_classes": 7}
    torch.manual_seed(0)
    model = timm.create_model("swinv2_tiny_window8_256", img_size=128, **size).eval()
    said = {"arch": "timm:swinv2_tiny_window8_256", "img_size": (128, 128)}
    checkpoint = replace(
        Checkpoint.from_state_dict(model.state_dict(), source="x.safetensors"),
        hints=Hints(**said, origins=dict.fromkeys(said, "config.json")),
        metadata={
            "config": {
                "architecture": "swinv2_tiny_window8_256",
                "model_args": {**size, "img_size": [128, 128]},
            }
        },
    )
    (pe,) = extract(checkpoint, with_sha256=False)
    other = host_of(rebuild(checkpoint), (pe,)).at((256, 256))
    windows = {module.window_size for module in other.model.modules()
               if hasattr(module, "relative_coords_table")}  # fmt: skip
    assert other.grid_of(pe) == max(windows)
    found = interpolate(pe, grid=other.grid_of(pe), method="bicubic")
    with pytest.raises(NotApplicable, match="no table that this model could be handed"):
        logits(other.model, other.res, other.put(found.pe, found.embedding("bicubic")))
