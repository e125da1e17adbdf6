"""Live models from s-chh's checkpoints: their names and buffers, as ours.

What they hold: `embedding.*`, `encoder.#.*` with separate queries, keys and values, `norm`,
`classifier.fc`; and by kind a table without a CLS row, a fixed one, relative tables, or buffers of
cosines and sines. Source: github.com/s-chh/2D-Positional-Encoding-Vision-Transformer.
"""

from __future__ import annotations

import re
from math import isqrt
from typing import Any, Final

import torch
from torch import nn

from pe_inspect.live.shapes import count_blocks, ratio_of, stated_eps
from pe_inspect.live.weights import CannotRebuild, load_all, state_dict_of
from pe_inspect.loading.checkpoint import Checkpoint
from pe_inspect.models.config import ViTConfig
from pe_inspect.models.vit import VisionTransformer

__all__ = ["is_schh", "schh"]

State = dict[str, torch.Tensor]

_EPS: Final = 1e-5  # torch.nn.LayerNorm's default
_USUAL_SIDE: Final = 8  # of the grid; kind `none` runs on any
_RENAMED: Final = (
    (r"embedding\.conv1\.", "patch_embed.proj."),
    (r"embedding\.cls_token", "cls_token"),
    (r"embedding\.pos_embedding(?:\.pos_embedding)?$", "pos_embed"),
    (r"classifier\.fc\.", "head."),
    (r"encoder\.(\d+)\.(fc[12])\.", r"blocks.\1.mlp.\2."),
    (r"encoder\.(\d+)\.attention\.out_projection\.", r"blocks.\1.attn.proj."),
    (r"encoder\.(\d+)\.attention\.", r"blocks.\1.attn."),
    (r"encoder\.(\d+)\.", r"blocks.\1."),
)
_DISTANCES: Final = re.compile(r".*\.[xy]_distances")
_ROTARY: Final = re.compile(r"encoder\.\d+\.attention\.rotary_embedding\.")
_FIRST_ROTARY: Final = "encoder.0.attention.rotary_embedding."
_FIRST_TABLE: Final = "encoder.0.attention.query_pos_embedding.x_relative_embedding_table.weight"
_FIRST_DISTANCES: Final = "encoder.0.attention.query_pos_embedding.x_distances"


def is_schh(checkpoint: Checkpoint) -> bool:
    """Whether the names are s-chh's."""
    return {"embedding.conv1.weight", "encoder.0.attention.queries.weight"} <= set(checkpoint)


def schh(checkpoint: Checkpoint) -> nn.Module:
    """Build the model of the file's kind; without `--num-heads` where only it can say.

    Raises:
        CannotRebuild: kinds `none`, `learn` and `sinusoidal` do not say their heads; or the file
            is not whole.
    """
    state = state_dict_of(checkpoint)
    config = _config(checkpoint, state)
    what = f"s-chh's ViT ({config.scheme})"
    return load_all(VisionTransformer(config), _renamed(state), checkpoint.source, what)


def _config(checkpoint: Checkpoint, state: State) -> ViTConfig:
    width, channels, down, across = state["embedding.conv1.weight"].shape
    grid = _grid(checkpoint, state)
    scheme, told = _scheme(state)
    return ViTConfig(
        img_size=(grid[0] * down, grid[1] * across),
        patch_size=(down, across),
        in_chans=channels,
        num_classes=_rows_of_weight(checkpoint, state, "classifier.fc.weight"),
        embed_dim=width,
        depth=count_blocks(state, "encoder"),
        num_heads=_heads(checkpoint, state, width),
        mlp_ratio=ratio_of(_rows_of_weight(checkpoint, state, "encoder.0.fc1.weight"), width),
        scheme=scheme,
        ln_eps=stated_eps(checkpoint, _EPS),
        no_embed_class=True,
        **told,
    )


def _scheme(state: State) -> tuple[str, dict[str, Any]]:
    if _FIRST_TABLE in state:
        reach = (state[_FIRST_TABLE].shape[0] - 2) // 2
        return "relative", {"max_relative_distance": reach}
    if f"{_FIRST_ROTARY}x_cos" in state:
        return "rope_axial", {"schh_compat": True}
    if "embedding.pos_embedding.pos_embedding" in state:
        return "sincos2d", {}
    return ("learned" if "embedding.pos_embedding" in state else "none"), {}


def _heads(checkpoint: Checkpoint, state: State, width: int) -> int:
    for key in (_FIRST_TABLE, f"{_FIRST_ROTARY}x_cos"):
        if key in state:
            return width // (2 * state[key].shape[-1])
    if checkpoint.hints.num_heads is None:
        raise CannotRebuild(
            f"{checkpoint.source} does not say how many heads its attention has, and no tensor of "
            "this kind shows it. Pass --num-heads N (s-chh's own models have 4)."
        )
    return checkpoint.hints.num_heads


def _grid(checkpoint: Checkpoint, state: State) -> tuple[int, int]:
    """Return (H, W): as said, else square, as s-chh's code has it."""
    if checkpoint.hints.grid_size is not None:
        return checkpoint.hints.grid_size
    tables = [state[k] for k in state if k.startswith("embedding.pos_embedding")]
    with_cls = [state[k] for k in (_FIRST_DISTANCES, f"{_FIRST_ROTARY}x_cos") if k in state]
    patches = [t.shape[-2] for t in tables] + [t.shape[-2] - 1 for t in with_cls]
    side = isqrt(patches[0]) if patches else _USUAL_SIDE
    return side, side


def _rows_of_weight(checkpoint: Checkpoint, state: State, key: str) -> int:
    if key not in state:
        raise CannotRebuild(f"{checkpoint.source} has no {key}: the file is not whole.")
    return state[key].shape[0]


def _renamed(state: State) -> State:
    ours = {
        _rename(key): value
        for key, value in state.items()
        if not _DISTANCES.fullmatch(key) and not _ROTARY.match(key)
    }
    for stem in {k.rpartition("queries")[0] for k in ours if ".attn.queries." in k}:
        for part in ("weight", "bias"):
            names = [f"{stem}{name}.{part}" for name in ("queries", "keys", "values")]
            if all(name in ours for name in names):
                ours[f"{stem}qkv.{part}"] = torch.cat([ours.pop(name) for name in names])
    for part in ("cos", "sin"):
        axes = [state[k] for k in (f"{_FIRST_ROTARY}{a}_{part}" for a in "xy") if k in state]
        if axes:
            ours[f"rope.freqs_{part}"] = torch.cat(axes, dim=-1)[0, 0, 1:]
    return ours


def _rename(key: str) -> str:
    for pattern, name in _RENAMED:
        if re.match(pattern, key):
            return re.sub(f"^{pattern}", name, key)
    return key
