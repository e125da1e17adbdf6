"""`rebuild`: logits equal to the original's; the originals are timm, and LaPE's and s-chh's
forward passes restated here from what their papers and READMEs define."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest
import timm
import torch
from closeness import assert_close
from live.states import State, dense, drawn, flags, normed, picture
from safetensors.torch import save_file
from torch.nn.functional import conv2d, gelu

import pe_inspect as pei
from pe_inspect.live.rebuild import CannotRebuild
from pe_inspect.loading import Checkpoint, Hints

# LaPE: DeiT's names, square images, patches of 4.


def lape_state(pe: str, join: str) -> State:
    dim = 24
    shapes: dict[str, tuple[int, ...]] = {
        "cls_token": (1, 1, dim),
        "patch_embed.proj.weight": (dim, 3, 4, 4),
        "patch_embed.proj.bias": (dim,),
        "norm.weight": (dim,),
        "norm.bias": (dim,),
        "head.weight": (5, dim),
        "head.bias": (5,),
    }
    for i in range(2):
        stem = f"blocks.{i}."
        for name, out, inner in (
            ("attn.qkv", 3 * dim, dim), ("attn.proj", dim, dim), ("mlp.fc1", 4 * dim, dim),
            ("mlp.fc2", dim, 4 * dim),
        ):  # fmt: skip
            shapes |= {f"{stem}{name}.weight": (out, inner), f"{stem}{name}.bias": (out,)}
        norms = ["norm1", "norm2", *(["pe_norm"] if join == "LaPE" else [])]
        shapes |= {f"{stem}{norm}.{part}": (dim,) for norm in norms for part in ("weight", "bias")}
        if pe == "2D_RPE":
            shapes[f"{stem}attn.relative_position_bias_table"] = (25, 3)
            extra = ("weight", "bias") if join == "LN" else ()
            shapes |= {f"{stem}attn.pe_norm.{part}": (9,) for part in extra}
        if join == "unshare":
            shapes[f"pos_embed{i}"] = (1, 10, dim)
    if pe == "learnable" and join != "unshare":
        shapes["pos_embed"] = (1, 10, dim)
    return drawn(shapes) | lape_table(pe)


def lape_table(pe: str) -> State:
    if pe not in ("1D_sin", "2D_sin"):
        return {}
    table = torch.zeros(10, 24)
    for row in range(10):
        for i in range(24):
            if pe == "1D_sin":
                angle = row / 10000 ** (2 * (i // 2) / 24)
            else:
                place = (row - 1) % 3 if i < 12 else (row - 1) // 3
                angle = place / 10000 ** (2 * (i % 12 // 2) / 12)
            table[row, i] = math.cos(angle) if i % 2 else math.sin(angle)
    if pe == "1D_sin":
        return {"pos_embed": table}
    table[0] = 0
    return {"pos_embed": table[None]}


def lape_bias(state: State, stem: str, join: str) -> torch.Tensor:
    table, whole = state[f"{stem}relative_position_bias_table"], torch.zeros(3, 10, 10)
    for i in range(9):
        for j in range(9):
            row = (i // 3 - j // 3 + 2) * 5 + i % 3 - j % 3 + 2
            whole[:, i + 1, j + 1] = table[row]
    if join == "LN":
        whole[:, 1:, 1:] = normed(state, f"{stem}pe_norm", whole[:, 1:, 1:], 1e-5)
    return whole


def lape_attention(state: State, stem: str, x: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    q, k, v = dense(state, f"{stem}qkv", x).unflatten(-1, (3, 3, 8)).permute(2, 0, 3, 1, 4)
    weights = (q @ k.transpose(2, 3) / math.sqrt(8) + bias).softmax(-1)
    return dense(state, f"{stem}proj", (weights @ v).transpose(1, 2).flatten(2))


def lape_forward(state: State, pe: str, join: str, x: torch.Tensor) -> torch.Tensor:
    x = conv2d(x, state["patch_embed.proj.weight"], state["patch_embed.proj.bias"], stride=4)
    x = torch.cat((state["cls_token"].expand(len(x), -1, -1), x.flatten(2).transpose(1, 2)), 1)
    omega = state.get("pos_embed", torch.zeros(()))
    x = x + omega if join == "basic" else x
    for i in range(2):
        stem = f"blocks.{i}."
        x = x + {"share": omega, "unshare": state.get(f"pos_embed{i}")}.get(join, 0)
        y = normed(state, f"{stem}norm1", x, 1e-6)
        if join == "LaPE":
            omega = normed(state, f"{stem}pe_norm", omega, 1e-6)
            y = y + omega
        bias = lape_bias(state, f"{stem}attn.", join) if pe == "2D_RPE" else torch.zeros(())
        x = x + lape_attention(state, f"{stem}attn.", y, bias)
        y = gelu(dense(state, f"{stem}mlp.fc1", normed(state, f"{stem}norm2", x, 1e-6)))
        x = x + dense(state, f"{stem}mlp.fc2", y)
    return dense(state, "head", normed(state, "norm", x, 1e-6)[:, 0])


@pytest.mark.parametrize(
    ("pe", "join"),
    [
        *[("learnable", join) for join in ("basic", "share", "unshare", "LaPE")],
        *[(pe, join) for pe in ("1D_sin", "2D_sin") for join in ("basic", "share", "LaPE")],
        ("2D_RPE", "basic"),
        ("2D_RPE", "LN"),
    ],
)
@torch.no_grad()
def test_lapes_joins_give_their_logits(pe: str, join: str, tmp_path: Path) -> None:
    state = lape_state(pe, join)
    arguments = argparse.Namespace(model="deit_tiny_patch16_224", pe=pe, join_type=join)
    torch.save({"model": state, "args": arguments, "epoch": 3}, tmp_path / "checkpoint.pth")
    checkpoint = pei.load(str(tmp_path / "checkpoint.pth"), hints=flags(num_heads=3))
    model = pei.rebuild(checkpoint)
    assert_close(
        model(picture(12, 12)), lape_forward(state, pe, join, picture(12, 12)), operations=32
    )


@torch.no_grad()
def test_the_heads_of_lapes_models_come_from_deits_name(tmp_path: Path) -> None:
    name = "deit_tiny_patch16_224"
    original = timm.create_model(name, img_size=32, num_classes=5, depth=1).eval()
    arguments = argparse.Namespace(model=name, pe="learnable", join_type="basic")
    torch.save({"model": original.state_dict(), "args": arguments}, tmp_path / "a.pth")
    model = pei.rebuild(pei.load(str(tmp_path / "a.pth")))
    assert model.config.num_heads == 3
    assert_close(model(picture(32, 32)), original(picture(32, 32)), operations=32)


# timm.


def timm_pair(
    name: str, folder: Path, hints: Hints | None = None, **arguments: object
) -> tuple[torch.nn.Module, torch.nn.Module]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        original = timm.create_model(name, **arguments).eval()
    torch.save(original.state_dict(), folder / "weights.pth")
    said = hints or flags(arch=f"timm:{name}")
    return original, pei.rebuild(pei.load(str(folder / "weights.pth"), hints=said))


@pytest.mark.parametrize(
    ("name", "arguments", "size"),
    [
        ("test_vit", {}, (160, 160)),
        ("test_vit", {"img_size": (48, 80), "num_classes": 7, "in_chans": 1}, (48, 80)),
        ("test_vit2", {"num_classes": 0}, (64, 64)),
        ("eva02_tiny_patch14_224", {"img_size": (42, 70), "num_classes": 3}, (42, 70)),
    ],
)
@torch.no_grad()
def test_timms_models_give_their_logits(
    name: str, arguments: dict, size: tuple[int, int], tmp_path: Path
) -> None:
    grid = {"grid_size": (3, 5)} if "img_size" in arguments else {}
    hints = flags(arch=f"timm:{name}", **grid)
    original, model = timm_pair(name, tmp_path, hints, **arguments)
    assert type(model) is type(original)
    shown = picture(*size)[:, : arguments.get("in_chans", 3)]
    assert_close(model(shown), original(shown), operations=32)


@torch.no_grad()
def test_a_config_json_of_timm_names_the_architecture(tmp_path: Path) -> None:
    original = timm.create_model("test_vit", img_size=48, num_classes=3).eval()
    save_file(original.state_dict(), tmp_path / "model.safetensors")
    config = {"architecture": "test_vit", "num_classes": 3, "model_args": {"img_size": 48}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    model = pei.rebuild(pei.load(str(tmp_path)))
    assert_close(model(picture(48, 48)), original(picture(48, 48)), operations=32)


@pytest.mark.parametrize("arguments", [None, 3, 0.5, "join_type"])
@torch.no_grad()
def test_arguments_that_are_no_settings_say_nothing(arguments: object, tmp_path: Path) -> None:
    name = "deit_tiny_patch16_224"
    original = timm.create_model(name, img_size=48, num_classes=5, depth=2).eval()
    torch.save({"model": original.state_dict(), "args": arguments}, tmp_path / "model.pth")

    model = pei.rebuild(pei.load(str(tmp_path / "model.pth"), hints=flags(num_heads=3)))

    assert_close(model(picture(48, 48)), original(picture(48, 48)), operations=32)


@torch.no_grad()
def test_a_plain_vit_is_rebuilt_from_its_tensors_and_its_heads(tmp_path: Path) -> None:
    with torch.random.fork_rng():
        original = timm.models.vision_transformer.VisionTransformer(
            img_size=(8, 16), patch_size=(4, 4), embed_dim=24, depth=2, num_heads=3, num_classes=5
        ).eval()
    checkpoint = Checkpoint.from_state_dict(
        original.state_dict(), hints=flags(num_heads=3, grid_size=(2, 4))
    )
    model = pei.rebuild(checkpoint)
    assert_close(model(picture(8, 16)), original(picture(8, 16)), operations=32)


def test_weights_of_another_architecture_are_refused_with_what_does_not_fit(tmp_path: Path) -> None:
    torch.save(timm.create_model("test_vit").state_dict(), tmp_path / "w.pth")
    checkpoint = pei.load(str(tmp_path / "w.pth"), hints=flags(arch="timm:test_vit3"))
    with pytest.raises(CannotRebuild, match=r"w\.pth cannot be rebuilt as timm:test_vit3: missing"):
        pei.rebuild(checkpoint)


def test_arguments_that_timm_does_not_take_are_named(tmp_path: Path) -> None:
    save_file(timm.create_model("test_vit").state_dict(), tmp_path / "model.safetensors")
    config = {"architecture": "test_vit", "model_args": {"img_sice": 48}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(CannotRebuild, match="timm does not build test_vit with img_sice=48"):
        pei.rebuild(pei.load(str(tmp_path)))


# What cannot be rebuilt.


@pytest.mark.parametrize(
    ("state", "hints", "message"),
    [
        (
            {"encoders.0.self_attention.mha.in_proj_weight": torch.zeros(2, 2)},
            Hints(),
            r"nda111's ViT, whose pos_embed and class_token are plain tensors, which no state dict",
        ),
        (
            {"conv1.weight": torch.zeros(2, 2)},
            Hints(),
            r"which architecture it is of\. Pass --arch",
        ),
        (
            {"conv1.weight": torch.zeros(2, 2)},
            Hints(arch="my_net", origins={"arch": "args in the file"}),
            r"its architecture is 'my_net', which timm does not have",
        ),
        (lape_state("learnable", "LaPE"), Hints(), r"how many heads .* --num-heads N, or --arch"),
    ],
)
def test_what_is_missing_is_said(state: State, hints: Hints, message: str) -> None:
    with pytest.raises(CannotRebuild, match=message) as caught:
        pei.rebuild(Checkpoint.from_state_dict(state, source="x.pth", hints=hints))
    assert caught.value.exit_code == 2


def test_a_saved_extraction_is_no_model(vectors: Callable, tmp_path: Path) -> None:
    path = vectors().save(tmp_path / "a.pe.safetensors")
    with pytest.raises(CannotRebuild, match="a saved extraction: it holds tables, and no model"):
        pei.rebuild(pei.load(str(path)))


def test_a_broken_config_json_says_so(vit, tmp_path: Path) -> None:
    model = vit()
    save_file(model.state_dict(), tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(
        json.dumps({"model": {**model.config.to_dict(), "depth": 3}})
    )
    with pytest.raises(CannotRebuild, match=r"\(scheme=learned, join=input\): missing blocks\.2\."):
        pei.rebuild(pei.load(str(tmp_path)))
    (tmp_path / "config.json").write_text(
        json.dumps({"model": {**model.config.to_dict(), "depth": "two"}})
    )
    with pytest.raises(CannotRebuild, match=r'the "model" of its config\.json has values of'):
        pei.rebuild(pei.load(str(tmp_path)))
