"""Parts of made-up checkpoints: values that are smooth over a grid, blocks under any names."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

DIM = 24
State = dict[str, np.ndarray]


@dataclass(frozen=True)
class Truth:
    """What a layout holds: one embedding. Fields of `None` are not judged."""

    keys: tuple[str, ...]
    grid: tuple[int, ...] | None
    kind: str = "vectors"
    rows: int | None = 0
    tokens: int | None = 0
    depth: int | None = 3
    heads: int | None = None
    join: str | None = None
    suffix: int | None = None


Layout = tuple[State, tuple[Truth, ...]]
LAYOUTS: dict[str, dict[str, Callable[[], Layout]]] = {}


def layout(batch: str) -> Callable[[Callable[[], Layout]], Callable[[], Layout]]:
    """Enter a layout under its function's name."""

    def entered(make: Callable[[], Layout]) -> Callable[[], Layout]:
        LAYOUTS.setdefault(batch, {})[make.__name__] = make
        return make

    return entered


def small(*shape: int, seed: int = 0) -> np.ndarray:
    """Return numbers without order."""
    rng = np.random.default_rng([seed, *shape])
    return (0.02 * rng.standard_normal(shape)).astype(np.float32)


def waves(grid: tuple[int, ...], channels: int, seed: int = 0) -> np.ndarray:
    """Return sums of slow cosines over a grid, a row a place."""
    rng = np.random.default_rng(seed)
    places = np.indices(grid).reshape(len(grid), -1).T / np.array(grid)
    steps = [f for f in np.ndindex(*(3,) * len(grid)) if any(f)]
    slow = [np.cos(np.pi * places * f).prod(axis=1) / (1 + sum(f)) ** 2 for f in steps]
    basis = np.stack(slow, axis=1)
    return (basis @ rng.standard_normal((len(steps), channels))).astype(np.float32)


def table(grid: tuple[int, ...], prefix: int = 0, dim: int = DIM, suffix: int = 0) -> np.ndarray:
    """Return a table (rows, dim): prefix rows, patches, suffix rows."""
    parts = [small(prefix, dim)] * bool(prefix) + [waves(grid, dim)]
    return np.concatenate([*parts, *[small(suffix, dim, seed=1)] * bool(suffix)])


def norm(stem: str, dim: int = DIM, names: tuple[str, str] = ("weight", "bias")) -> State:
    """Return the two tensors of a norm."""
    return {
        f"{stem}.{names[0]}": 1 + 0.1 * small(dim, seed=zlib.crc32(stem.encode())),
        f"{stem}.{names[1]}": small(dim),
    }


def linear(stem: str, out: int, into: int, weight: str = "weight") -> State:
    """Return the two tensors of a Linear; a `kernel` is stored the other way round."""
    shape = (into, out) if weight == "kernel" else (out, into)
    return {f"{stem}.{weight}": small(*shape), f"{stem}.bias": small(out)}


def block(stem: str, parts: Mapping[str, str], dim: int = DIM) -> State:
    """Return a block: `parts` names its modules, and what each of them is.

    `norm`, `rms` (a weight alone), `scale` (flax's names), `qkv`, `square`, `up`, `down`, and
    `kernel:` ahead of a matrix for flax's.
    """
    state: State = {}
    for name, sort in parts.items():
        at, weight = f"{stem}{name}", "kernel" if sort.startswith("kernel:") else "weight"
        sort = sort.removeprefix("kernel:")
        if sort == "norm":
            state |= norm(at, dim)
        elif sort == "scale":
            state |= norm(at, dim, ("scale", "bias"))
        elif sort == "rms":
            state[f"{at}.weight"] = 1 + small(dim)
        else:
            out, into = {"qkv": (3, 1), "square": (1, 1), "up": (2, 1), "down": (1, 2)}[sort]
            state |= linear(at, out * dim, into * dim, weight)
    return state


def blocks(
    stem: str, numbers: Iterable[object], parts: Mapping[str, str] | None = None, dim: int = DIM
) -> State:
    """Return blocks `stem#.`, whatever stands for `#`; a `{}` in the stem says where it stands."""
    form = stem if "{}" in stem else stem + "{}."
    whole = PARTS if parts is None else parts
    return {k: v for i in numbers for k, v in block(form.format(i), whole, dim).items()}


PARTS: Mapping[str, str] = {
    "scale_a": "norm",
    "mixer.fused": "qkv",
    "mixer.back": "square",
    "scale_b": "norm",
    "wide.up": "up",
    "wide.down": "down",
}


def kernel(stem: str = "eye.patch", dim: int = DIM, sides: tuple[int, ...] = (4, 4)) -> State:
    """Return the kernel that makes patches: 3 channels of an image, 1 of a volume."""
    into = 3 if len(sides) == 2 else 1
    return {f"{stem}.weight": small(dim, into, *sides), f"{stem}.bias": small(dim)}


def slashed(state: State) -> State:
    """Return a state under jax's names."""
    return {key.replace(".", "/"): values for key, values in state.items()}


def offsets(window: tuple[int, ...], heads: int, more: int = 0) -> np.ndarray:
    """Return a table of offsets (rows, heads), and `more` rows behind."""
    grid = tuple(2 * side - 1 for side in window)
    return np.concatenate([waves(grid, heads), small(more, heads)])


def pair_index(window: tuple[int, ...]) -> np.ndarray:
    """Return which row of a table of offsets each pair of places takes."""
    places = np.indices(window).reshape(len(window), -1)
    index = np.zeros((places.shape[1],) * 2, np.int64)
    for side, at in zip(window, places):
        index = index * (2 * side - 1) + (at[:, None] - at[None]) + side - 1
    return index


def pair_matrix(window: tuple[int, ...], heads: int, prefix: int = 0) -> np.ndarray:
    """Return a bias (heads, tokens, tokens) that falls with distance."""
    places = np.indices(window).reshape(len(window), -1).T
    away = np.sqrt(((places[:, None] - places[None]) ** 2).sum(-1))
    whole = small(heads, len(away) + prefix, len(away) + prefix)
    whole[:, prefix:, prefix:] -= 0.3 * away.astype(np.float32)
    return whole


def judged(found: Iterable[Any], truths: Iterable[Truth]) -> list[str]:
    """Return what differs between embeddings and what is true; empty where nothing does."""
    left, wrong = list(found), list[str]()
    for truth in truths:
        own = [pe for pe in left if set(pe.keys) & set(truth.keys)]
        if not own:
            wrong.append(f"missed {truth.keys[0]}")
            continue
        left = [pe for pe in left if pe not in own]
        wrong += _differences(own, truth)
    return [*wrong, *(f"extra {pe.family} {pe.keys[:2]}" for pe in left)]


def _differences(own: list[Any], truth: Truth) -> list[str]:
    pe, keys = own[0], {key for each in own for key in each.keys}
    depth = sum(each.depth for each in own) if truth.join == "layer" else pe.depth
    said = {
        "keys": (keys, set(truth.keys)),
        "kind": (pe.kind, truth.kind),
        "grid": (pe.grid_size, truth.grid),
        "rows": (pe.num_prefix_rows, truth.rows),
        "tokens": (pe.num_prefix_tokens, truth.tokens),
        "depth": (depth, truth.depth),
        "heads": (pe.num_heads, truth.heads),
        "join": (pe.join, truth.join),
        "suffix": (getattr(pe, "num_suffix_rows", None), truth.suffix),
    }
    return [f"{n}: {a}, not {b}" for n, (a, b) in said.items() if b is not None and a != b]
