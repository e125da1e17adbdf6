"""`rebuild` of s-chh's five kinds: logits equal to its forward pass, restated here."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from closeness import assert_close
from live.states import State, dense, drawn, flags, normed, picture
from torch.nn.functional import conv2d, gelu

import pe_inspect as pei
from pe_inspect.live.rebuild import CannotRebuild
from pe_inspect.loading import Checkpoint, Hints

# s-chh: patches of 4, 8 channels a head, two blocks.


def schh_state(kind: str) -> State:
    dim, blocks = 24, range(2)
    shapes: dict[str, tuple[int, ...]] = {
        "embedding.cls_token": (1, 1, dim),
        "embedding.conv1.weight": (dim, 3, 4, 4),
        "embedding.conv1.bias": (dim,),
        "norm.weight": (dim,),
        "norm.bias": (dim,),
        "classifier.fc.weight": (5, dim),
        "classifier.fc.bias": (5,),
    }
    for i in blocks:
        for name, (out, inner) in {
            **dict.fromkeys(
                ("attention.queries", "attention.keys", "attention.values"), (dim, dim)
            ),
            "attention.out_projection": (dim, dim),
            "fc1": (2 * dim, dim),
            "fc2": (dim, 2 * dim),
        }.items():
            shapes[f"encoder.{i}.{name}.weight"] = (out, inner)
            shapes[f"encoder.{i}.{name}.bias"] = (out,)
        for norm in ("norm1", "norm2"):
            shapes |= {f"encoder.{i}.{norm}.{part}": (dim,) for part in ("weight", "bias")}
        if kind == "relative":
            at = f"encoder.{i}.attention.{{}}_pos_embedding.{{}}_relative_embedding_table.weight"
            shapes |= {at.format(s, axis): (6, 4) for s in ("query", "value") for axis in "xy"}
    if kind == "learn":
        shapes["embedding.pos_embedding"] = (1, 9, dim)
    return drawn(shapes) | schh_buffers(kind)


def schh_buffers(kind: str) -> State:
    y, x = (
        axis.flatten() for axis in torch.meshgrid(torch.arange(3), torch.arange(3), indexing="ij")
    )
    if kind == "sinusoidal":
        table = torch.zeros(1, 9, 24)
        for half, axis in enumerate((x, y)):
            for i in range(12):
                angle = axis / 10000 ** (2 * (i // 2) / 12)
                table[0, :, 12 * half + i] = angle.cos() if i % 2 else angle.sin()
        return {"embedding.pos_embedding.pos_embedding": table}
    buffers: State = {}
    for i in range(2):
        stem = f"encoder.{i}.attention."
        for name, axis in (("x", x), ("y", y)):
            if kind == "relative":
                offsets = (axis[None] - axis[:, None]).clamp(-2, 2) + 3
                padded = torch.nn.functional.pad(offsets, (1, 0, 1, 0))
                for side in ("query", "value"):
                    buffers[f"{stem}{side}_pos_embedding.{name}_distances"] = padded
            if kind == "rope":
                positions = torch.cat((torch.zeros(1), axis + 1.0))
                exponents = torch.tensor([1, 1, 2, 2]) / 2  # of −1; 2(i)/d with d = 4
                angles = positions[:, None] * 10000.0**-exponents
                buffers[f"{stem}rotary_embedding.{name}_cos"] = angles.cos()[None, None]
                buffers[f"{stem}rotary_embedding.{name}_sin"] = angles.sin()[None, None]
    return buffers


def pair_vectors(state: State, stem: str) -> torch.Tensor:  # (tokens, tokens, head_dim)
    names = (f"{stem}{axis}_" for axis in "xy")
    both = [state[f"{n}relative_embedding_table.weight"][state[f"{n}distances"]] for n in names]
    return torch.cat(both, -1)


def turned(state: State, stem: str, x: torch.Tensor) -> torch.Tensor:
    halves = []
    for axis, half in zip("xy", x.chunk(2, -1)):
        cos, sin = (state[f"{stem}{axis}_{f}"] for f in ("cos", "sin"))
        swapped = torch.stack((-half[..., 1::2], half[..., ::2]), -1).flatten(-2)
        halves.append(half * cos + swapped * sin)
    return torch.cat(halves, -1)


def schh_attention(state: State, kind: str, stem: str, x: torch.Tensor) -> torch.Tensor:
    q, k, v = (
        dense(state, f"{stem}{name}", x).unflatten(-1, (3, -1)).transpose(1, 2)
        for name in ("queries", "keys", "values")
    )
    if kind == "rope":
        q, k = (turned(state, f"{stem}rotary_embedding.", side) for side in (q, k))
    logits = q @ k.transpose(2, 3)
    if kind == "relative":
        asked = pair_vectors(state, f"{stem}query_pos_embedding.")
        logits = logits + torch.einsum("bhid,ijd->bhij", q, asked)
    weights = (logits / math.sqrt(q.shape[-1])).softmax(-1)
    out = weights @ v
    if kind == "relative":
        carried = pair_vectors(state, f"{stem}value_pos_embedding.")
        out = out + torch.einsum("bhij,ijd->bhid", weights, carried)
    return dense(state, f"{stem}out_projection", out.transpose(1, 2).flatten(2))


def schh_forward(state: State, kind: str, x: torch.Tensor) -> torch.Tensor:
    x = conv2d(x, state["embedding.conv1.weight"], state["embedding.conv1.bias"], stride=4)
    x = x.flatten(2).transpose(1, 2)
    for name in ("embedding.pos_embedding", "embedding.pos_embedding.pos_embedding"):
        x = x + state.get(name, torch.zeros(()))
    x = torch.cat((state["embedding.cls_token"].expand(len(x), -1, -1), x), 1)
    for i in range(2):
        block = f"encoder.{i}."
        y = normed(state, f"{block}norm1", x, 1e-5)
        x = x + schh_attention(state, kind, f"{block}attention.", y)
        y = gelu(dense(state, f"{block}fc1", normed(state, f"{block}norm2", x, 1e-5)))
        x = x + dense(state, f"{block}fc2", y)
    return dense(state, "classifier.fc", normed(state, "norm", x, 1e-5)[:, 0])


@pytest.mark.parametrize("kind", ["none", "learn", "sinusoidal", "relative", "rope"])
@torch.no_grad()
def test_the_five_kinds_of_schh_give_their_logits(kind: str, tmp_path: Path) -> None:
    state = schh_state(kind)
    torch.save(state, tmp_path / f"ViT_model_{kind}.pt")
    hints = Hints() if kind in ("relative", "rope") else flags(num_heads=3)
    model = pei.rebuild(pei.load(str(tmp_path / f"ViT_model_{kind}.pt"), hints=hints))
    assert_close(model(picture(12, 12)), schh_forward(state, kind, picture(12, 12)), operations=32)
    assert not model.training


def test_schhs_rotation_goes_on_by_its_own_angles_elsewhere() -> None:
    model = pei.rebuild(Checkpoint.from_state_dict(schh_state("rope")))
    shown = model.rope((3, 3))
    assert_close(model.rope((5, 3))[:9], shown)


@pytest.mark.parametrize("kind", ["none", "learn", "sinusoidal"])
def test_schhs_heads_must_be_said_where_no_tensor_shows_them(kind: str) -> None:
    checkpoint = Checkpoint.from_state_dict(schh_state(kind), source="a.pt")
    message = (
        r"a\.pt does not say how many heads .* Pass --num-heads N \(s-chh's own models have 4\)"
    )
    with pytest.raises(CannotRebuild, match=message):
        pei.rebuild(checkpoint)


def test_half_a_file_says_what_is_missing() -> None:
    state = schh_state("relative")
    del state["encoder.1.fc2.bias"]
    with pytest.raises(CannotRebuild, match=r"as s-chh's ViT \(relative\): missing blocks\.1\.mlp"):
        pei.rebuild(Checkpoint.from_state_dict(state))
