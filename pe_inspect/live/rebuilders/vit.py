"""Live models from DeiT's names: LaPE's checkpoints, and plain ViTs without an architecture.

How positions join is what `families.extract` finds: by the tensors, by the arguments that LaPE's
training saves, or as said. Source: github.com/Ingrid725/LaPE.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import torch
from torch import nn

from pe_inspect.errors import NoPositionEmbedding
from pe_inspect.families import extract
from pe_inspect.families.reading import arch as _arch
from pe_inspect.kinds.position_embedding import PositionEmbedding
from pe_inspect.live.shapes import count_blocks, ratio_of
from pe_inspect.live.weights import CannotRebuild, load_all, state_dict_of
from pe_inspect.loading.checkpoint import Checkpoint
from pe_inspect.models.config import ViTConfig
from pe_inspect.models.vit import VisionTransformer

__all__ = ["is_lape", "is_plain_vit", "plain_vit"]

_LAPE_KEYS: Final = re.compile(r"blocks\.\d+\.(?:attn\.)?pe_norm\.weight|pos_embed\d+")
_TOKENS: Final = {"cls_token": "class_token", "dist_token": "distilled"}
_INDEX: Final = ".attn.relative_position_index"


def is_plain_vit(checkpoint: Checkpoint) -> bool:
    """Whether the names are those that DeiT, timm's ViT and LaPE share."""
    needed = ("patch_embed.proj.weight", "blocks.0.attn.qkv.weight", "blocks.0.mlp.fc1.weight")
    return {*needed, "head.weight", "norm.weight"} <= set(checkpoint)


def is_lape(checkpoint: Checkpoint) -> bool:
    """Whether tensors or saved arguments tell a model that is LaPE's and not DeiT's."""
    arguments: Any = checkpoint.metadata.get("args")
    is_said = isinstance(arguments, Mapping) and "join_type" in arguments
    told = is_said or any(map(_LAPE_KEYS.fullmatch, checkpoint))
    return told and is_plain_vit(checkpoint)


def plain_vit(checkpoint: Checkpoint) -> nn.Module:
    """Build a ViT from the shapes of its tensors and the join that was found, and load it.

    Raises:
        CannotRebuild: nothing says the number of heads, or there are tensors of another design.
    """
    try:
        pe = next(iter(extract(checkpoint, with_sha256=False)))
    except NoPositionEmbedding as error:
        raise CannotRebuild(
            f"{checkpoint.source} holds no position embedding and does not say where its model "
            f"takes positions from. {_ask_arch(checkpoint)}"
        ) from error
    config = _config(checkpoint, pe)
    state = {k: v for k, v in state_dict_of(checkpoint).items() if not k.endswith(_INDEX)}
    what = f"a ViT with {pe.family}, join={pe.join}"
    return load_all(VisionTransformer(config), _batched(state), checkpoint.source, what)


def _config(checkpoint: Checkpoint, pe: PositionEmbedding) -> ViTConfig:
    if not pe.facts.native_scheme:
        raise CannotRebuild(
            f"{checkpoint.source} is no plain ViT: its positions are {pe.family}. "
            f"{_ask_arch(checkpoint)}"
        )
    shape = checkpoint.shape
    width, channels, down, across = shape("patch_embed.proj.weight")
    tokens = {name: key in checkpoint for key, name in _TOKENS.items()}
    return ViTConfig(
        img_size=(pe.grid_size[0] * down, pe.grid_size[1] * across),
        patch_size=(down, across),
        in_chans=channels,
        num_classes=shape("head.weight")[0],
        embed_dim=width,
        depth=count_blocks(checkpoint, "blocks"),
        num_heads=_heads(checkpoint, pe, width),
        mlp_ratio=ratio_of(shape("blocks.0.mlp.fc1.weight")[0], width),
        scheme=_scheme(checkpoint, pe),
        join=pe.join,
        ln_eps=_eps(pe),
        no_embed_class=pe.scheme_kind.has_token_rows and not pe.num_prefix_rows,
        reg_tokens=shape("reg_token")[1] if "reg_token" in checkpoint else 0,
        global_pool="token" if tokens["class_token"] else "avg",
        init_values=float("blocks.0.ls1.gamma" in checkpoint),
        **tokens,
    )


def _scheme(checkpoint: Checkpoint, pe: PositionEmbedding) -> str:
    """Return ours; a bias by patch number has 2·H·W − 1 rows."""
    height, width = pe.grid_size
    is_sequence = (
        pe.scheme_kind.is_pairwise and checkpoint.shape(pe.keys[0])[0] == 2 * height * width - 1
    )
    return "rel_bias_1d" if is_sequence else pe.facts.native_scheme


def _heads(checkpoint: Checkpoint, pe: PositionEmbedding, width: int) -> int:
    said = checkpoint.hints.num_heads if pe.num_heads is None else pe.num_heads
    heads = said or _heads_of_named(checkpoint, width)
    if heads is None:
        raise CannotRebuild(
            f"{checkpoint.source} does not say how many heads its attention has: no tensor shows "
            "it. Pass --num-heads N, or --arch timm:NAME."
        )
    return heads


def _heads_of_named(checkpoint: Checkpoint, width: int) -> int | None:
    """Return the heads of timm's architecture of that name and width: LaPE keeps DeiT's names."""
    import timm

    name = (checkpoint.hints.arch or "").removeprefix("timm:")
    if not timm.is_model(name):
        return None
    model = _arch.build(name)
    blocks = getattr(model, "blocks", None)
    if getattr(model, "embed_dim", None) != width or not blocks:
        return None
    heads: int | None = getattr(blocks[0].attn, "num_heads", None)
    return heads


def _eps(pe: PositionEmbedding) -> float:
    return next(norm.eps for norm in pe.norms if norm.name == "norm1")


def _batched(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Give LaPE's `1D_sin` table, (tokens, dim), the batch axis that its code meant to give it."""
    table = state.get("pos_embed")
    if table is None or table.ndim != 2:
        return state
    return {**state, "pos_embed": table[None]}


def _ask_arch(checkpoint: Checkpoint) -> str:
    if checkpoint.hints.arch is not None:
        return f"timm has no architecture {checkpoint.hints.arch!r}."
    return "Pass --arch timm:NAME."
