"""State dicts of the systems that have no library to build them, in a few lines each."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from pe_inspect.loading.checkpoint import Checkpoint, Hints


def checkpoint_of(state_dict, **hints):
    """Wrap a state dict; every hint counts as a flag unless `origins` says otherwise."""
    return Checkpoint.from_state_dict(state_dict, source="x.pth", hints=Hints(**hints))


def rand(*shape, seed=0):
    return np.random.default_rng(seed).normal(0, 0.02, shape).astype(np.float32)


def unread(*shape):
    """A weight whose values nothing should read: it takes no memory."""
    return np.broadcast_to(np.float32(0), shape)


def norm(name, width, seed=0):
    rng = np.random.default_rng(seed)
    return {
        f"{name}.weight": rng.normal(1, 0.1, width).astype(np.float32),
        f"{name}.bias": rng.normal(0, 0.1, width).astype(np.float32),
    }


def deit(dim=8, depth=3, patch=(4, 4), prefix=1):
    """The trunk of a DeiT without any position tensor."""
    state = {"cls_token": rand(1, 1, dim), "patch_embed.proj.weight": rand(dim, 3, *patch)}
    if prefix == 2:
        state["dist_token"] = rand(1, 1, dim)
    for i in range(depth):
        at = f"blocks.{i}"
        state |= norm(f"{at}.norm1", dim, seed=10 * i) | norm(f"{at}.norm2", dim, seed=10 * i + 1)
        for module, rows, columns in (
            ("attn.qkv", 3 * dim, dim),
            ("attn.proj", dim, dim),
            ("mlp.fc1", 4 * dim, dim),
            ("mlp.fc2", dim, 4 * dim),
        ):
            state |= {
                f"{at}.{module}.weight": unread(rows, columns),
                f"{at}.{module}.bias": unread(rows),
            }
    return state | norm("norm", dim, seed=999)


def lape(join="lape", grid=(3, 4), dim=8, depth=3, prefix=1):
    """LaPE's DeiT with a learned table, and PVG and MPVG in the layout that we read."""
    rows = grid[0] * grid[1] + prefix
    state = deit(dim, depth, prefix=prefix)
    if join == "unshare":
        return state | {f"pos_embed{i}": rand(1, rows, dim, seed=i) for i in range(depth)}
    state["pos_embed"] = rand(1, rows, dim)
    first = {"lape": 0, "pvg": 1, "mpvg": 1}.get(join, depth)
    for i in range(first, depth):
        state |= norm(f"blocks.{i}.pe_norm", dim, seed=100 + i)
    return state | (norm("pe_norm", dim, seed=99) if join == "mpvg" else {})


def lape_rpe(grid=(3, 4), heads=3, dim=6, depth=2, normed=False):
    """LaPE's RPE models: a bias between patches only, its index persisted."""
    state = deit(dim, depth)
    offsets = (2 * grid[0] - 1) * (2 * grid[1] - 1)
    for i in range(depth):
        at = f"blocks.{i}.attn"
        state[f"{at}.relative_position_bias_table"] = rand(offsets, heads, seed=i)
        state[f"{at}.relative_position_index"] = looped_index(grid)
        if normed:
            state |= norm(f"{at}.pe_norm", grid[0] * grid[1], seed=i)
    return state


def looped_index(grid):
    """The index of Swin's paper by two plain loops over (query, key)."""
    height, width = grid
    patches = [(y, x) for y in range(height) for x in range(width)]
    return np.array(
        [
            [
                (a[0] - b[0] + height - 1) * (2 * width - 1) + a[1] - b[1] + width - 1
                for b in patches
            ]
            for a in patches
        ]
    )


def schh(kind, grid=(3, 4), dim=16, heads=2, depth=2, clip=2):
    """s-chh's ViT with one of its five kinds of position embedding."""
    state = {
        "embedding.conv1.weight": rand(dim, 3, 4, 4),
        "embedding.conv1.bias": rand(dim),
        "embedding.cls_token": rand(1, 1, dim),
    }
    patches, head_dim = grid[0] * grid[1], dim // heads
    if kind == "learn":
        state["embedding.pos_embedding"] = rand(1, patches, dim)
    if kind == "sinusoidal":
        table = sincos_2d(grid, dim)
        state["embedding.pos_embedding.pos_embedding"] = table[None]
    for i in range(depth):
        at = f"encoder.{i}"
        state |= norm(f"{at}.norm1", dim, seed=i)
        for part in ("queries", "keys", "values"):
            state[f"{at}.attention.{part}.weight"] = rand(dim, dim)
        if kind == "relative":
            state |= _schh_relative(f"{at}.attention", grid, head_dim, clip, seed=i)
        if kind == "rope":
            state |= _schh_rope(f"{at}.attention.rotary_embedding", grid, head_dim)
        state |= norm(f"{at}.norm2", dim, seed=i + 50)
    return state | norm("norm", dim) | {"classifier.fc.weight": rand(10, dim)}


def sincos_2d(grid, dim):
    """[x pairs | y pairs], sine and cosine of each frequency in turn, from position 0."""
    rows = []
    for y in range(grid[0]):
        for x in range(grid[1]):
            row = []
            for position in (x, y):
                for k in range(dim // 4):
                    angle = position / 10000 ** (2 * k / (dim // 2))
                    row += [np.sin(angle), np.cos(angle)]
            rows.append(row)
    return np.array(rows, dtype=np.float32)


def _schh_relative(at, grid, head_dim, clip, seed):
    state = {}
    y, x = (axis.ravel() for axis in np.indices(grid))
    for i, part in enumerate(("query", "value")):
        for j, (axis, positions) in enumerate((("x", x), ("y", y))):
            key = f"{at}.{part}_pos_embedding.{axis}"
            shape = (2 * clip + 2, head_dim // 2)
            state[f"{key}_relative_embedding_table.weight"] = rand(
                *shape, seed=100 * seed + 2 * i + j
            )
            steps = np.clip(positions[None] - positions[:, None], -clip, clip) + clip + 1
            state[f"{key}_distances"] = np.pad(steps, ((1, 0), (1, 0)))
    return state


def _schh_rope(at, grid, head_dim):
    state = {}
    y, x = (axis.ravel() + 1 for axis in np.indices(grid))
    for axis, positions in (("x", x), ("y", y)):
        half = head_dim // 2
        thetas = 10000.0 ** (-2 * np.arange(1, half // 2 + 1) / half)
        angles = np.concatenate([[0], positions])[:, None] * np.repeat(thetas, 2)
        state[f"{at}.{axis}_cos"] = np.cos(angles).astype(np.float32)[None, None]
        state[f"{at}.{axis}_sin"] = np.sin(angles).astype(np.float32)[None, None]
    return state


def nda111(dim=12, depth=2):
    """nda111's ViT: its pos_embed and class_token are plain tensors, so they are not here."""
    state = {"patch_embed.weight": rand(dim, 48)}
    for i in range(depth):
        at = f"encoders.{i}"
        state[f"{at}.self_attention.mha.in_proj_weight"] = rand(3 * dim, dim)
        state |= norm(f"{at}.norm", dim) | norm(f"{at}.block.0", dim)
    return state | norm("norm", dim)


def shuffled(state, seed=3):
    names = list(state)
    np.random.default_rng(seed).shuffle(names)
    return {name: state[name] for name in names}


@pytest.fixture
def make():
    return SimpleNamespace(
        checkpoint=checkpoint_of,
        deit=deit,
        lape=lape,
        lape_rpe=lape_rpe,
        looped_index=looped_index,
        nda111=nda111,
        norm=norm,
        rand=rand,
        schh=schh,
        shuffled=shuffled,
        sincos_2d=sincos_2d,
        unread=unread,
    )
