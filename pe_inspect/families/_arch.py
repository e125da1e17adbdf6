"""What `--arch timm:NAME` can tell: timm's own model is built, without its weights, and asked.

timm is imported inside these functions, and only where an architecture was named.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Any, Final

import numpy as np

from pe_inspect._typing import Float, Float32
from pe_inspect.errors import AmbiguousCheckpoint, UsageError
from pe_inspect.families._hints import is_flag
from pe_inspect.families._names import depth, trunk
from pe_inspect.loading.checkpoint import Checkpoint

__all__ = ["looks_like_dinov3", "norm_eps", "rotary_angles", "rotary_model"]

# An architecture that only a config.json or the file names is looked up where it says "rotary":
# importing timm costs seconds, and DeiT's name tells nothing that the tensors do not.
_ROTARY_NAMES: Final = re.compile(
    r"rope|eva02|dinov3|sapiens2|_pe_(?:core|spatial|lang)|eupe|lingbot"
)
_DINOV3_TOKENS: Final = ("reg_token", "embeddings.register_tokens", "storage_tokens")
_TABLES: Final = ("pos_embed", "embeddings.position_embeddings")


def looks_like_dinov3(names: Iterable[str]) -> bool:
    """Whether bare names are those of a DINOv3: CLS and registers, layer scale, and no table."""
    known = set(names)
    scaled = any(re.search(r"gamma_1$|layer_scale1\.lambda1$|ls1\.gamma$", name) for name in known)
    has_cls = bool(known & {"cls_token", "embeddings.cls_token"})
    has_registers, has_table = known & set(_DINOV3_TOKENS), known & set(_TABLES)
    return scaled and has_cls and bool(has_registers) and not has_table


def norm_eps(checkpoint: Checkpoint) -> float | None:
    """Return the eps of norm1 in the named architecture; `None` where it has no such norm."""
    model = _model(_timm_name(checkpoint))
    for name, module in model.named_modules():
        if re.search(r"(?:^|\.)(?:norm1|in_norm|norm)$", name) and hasattr(module, "eps"):
            return float(module.eps)
    return None


def rotary_model(checkpoint: Checkpoint) -> Any | None:
    """Return timm's model of the named architecture if it rotates q and k, else `None`.

    Raises:
        UsageError: timm has no such architecture.
        AmbiguousCheckpoint: it has, and the file is of another one.
    """
    arch = checkpoint.hints.arch
    if arch is None or not (is_flag(checkpoint, "arch") or _ROTARY_NAMES.search(arch)):
        return None
    model = _model(_timm_name(checkpoint))
    if not hasattr(getattr(model, "rope", None), "get_embed"):
        return None
    _check_fit(checkpoint, model)
    return model


def rotary_angles(
    model: Any, grid_size: tuple[int, int]
) -> Float32[np.ndarray, "tokens half_head_dim"]:
    """Return the angles, in radians, by which timm's model turns q and k at each patch.

    timm tabulates sines and cosines; the angles are theirs, unwrapped along both axes of the grid.
    """
    rope = model.rope.to_empty(device="cpu")
    rope.init_non_persistent_buffers()
    if hasattr(rope, "update_feat_shape") and getattr(rope, "feat_shape", None) is not None:
        rope.update_feat_shape(list(grid_size))
    embed = rope.get_embed(shape=list(grid_size)).detach().double().numpy()
    sine, cosine = np.split(embed, 2, axis=-1)
    angles = np.arctan2(sine, cosine)
    halves = angles.shape[-1] // 2
    in_halves = bool(getattr(model.blocks[0].attn, "rotate_half", False))
    return unwrapped(angles[:, :halves] if in_halves else angles[:, ::2], grid_size)


def unwrapped(
    angles: Float[np.ndarray, "tokens channels"], grid_size: tuple[int, int]
) -> Float32[np.ndarray, "tokens channels"]:
    """Return angles known modulo 2π as angles that grow evenly over the grid."""
    field = angles.reshape(*grid_size, -1)
    steady = np.unwrap(np.unwrap(field, axis=1), axis=0)
    return steady.reshape(angles.shape).astype(np.float32)


def _timm_name(checkpoint: Checkpoint) -> str:
    arch = checkpoint.hints.arch or ""
    if ":" in arch and not arch.startswith("timm:"):
        raise UsageError(f"--arch {arch} is not understood: it takes timm:NAME.")
    return arch.removeprefix("timm:")


@lru_cache(maxsize=2)
def _model(name: str) -> Any:
    """Build timm's model on the meta device: no weights are made, and none are fetched."""
    import timm
    import torch

    if not timm.is_model(name):
        near = difflib.get_close_matches(name, timm.list_models(), n=3)
        offer = f" Did you mean {' or '.join(f'timm:{n}' for n in near)}?" if near else ""
        raise UsageError(f"timm {timm.__version__} has no architecture {name!r}.{offer}")
    with torch.device("meta"):
        return timm.create_model(name, pretrained=False)


def _check_fit(checkpoint: Checkpoint, model: Any) -> None:
    arch, blocks = checkpoint.hints.arch, depth(checkpoint)
    if blocks and blocks != len(model.blocks):
        raise AmbiguousCheckpoint(
            f"--arch {arch} has {len(model.blocks)} blocks, {checkpoint.source} has {blocks}. "
            "Name the architecture that the file is of."
        )
    key = trunk(checkpoint).get("blocks.0.norm1.weight")
    width = checkpoint.shape(key)[0] if key else model.embed_dim
    if width != model.embed_dim:
        raise AmbiguousCheckpoint(
            f"--arch {arch} has embed_dim {model.embed_dim}, {checkpoint.source} has {width}. "
            "Name the architecture that the file is of."
        )
