"""Learned tables that are added to the tokens: ViT, DeiT, DINO, CLIP, LaPE and their kin.

Source: arXiv:2010.11929, section 3.1 and appendix D.4; LaPE's joins, arXiv:2212.05262.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from pe_inspect.families import Family, families
from pe_inspect.families.reading.vectors import is_sinusoidal, stored_vectors, vectors
from pe_inspect.families.trunk import Trunk
from pe_inspect.kinds.parts import FamilyFacts
from pe_inspect.kinds.position_embedding import PositionEmbedding

__all__ = ["detect", "extract"]

NAME: Final = "learned_absolute"

# Models whose files have the same names: one has a table, the other also rotates q and k. A
# config.json, a Namespace in the file or `--arch` names the architecture; without one the table is
# all that is read, and a note names the other. Measured on timm's models and the original files.
_ASK: Final = "(--arch timm:NAME)"
_STORED: Final = re.compile(
    r"(?:.*\.)?(?:rope|rope_embed|rotary_emb\w*)\..*|(?:.*\.)?(?:rope_)?freqs"
)
_NOT_DEIT: Final = (
    "blocks.0.attn.q_bias",
    "blocks_token_only.0.gamma_1",
    "reg_token",
    "mask_token",
)
_BARE: Final = re.compile(r"pos_embed$|patch_embed\.proj\.|blocks\.\d+\.(?:norm|attn|mlp)")
# Who always rotates: (the model, the names that no other has together).
_ROTATE: Final = (
    ("EVA-02", ("pos_embed", "blocks.0.attn.q_proj.weight", "blocks.0.mlp.norm.weight")),
    ("Qwen3's ViT", ("pos_embed", "blocks.0.attn.qkv.weight", "merger.norm.weight")),
    ("Qwen3's ViT", ("pos_embed", "blocks.0.attn.qkv.weight", "encoder.merger.norm.weight")),
    ("Gemma 4's ViT", ("patch_embed.position_embedding_table", "blocks.0.norm1.weight")),
)


def detect(trunk: Trunk) -> bool:
    """Whether the checkpoint holds a table whose rows are not sines and cosines."""
    return any(not is_sinusoidal(stored.values[0]) for stored in stored_vectors(trunk))


def extract(trunk: Trunk) -> tuple[PositionEmbedding, ...]:
    """Read the table, the tables where every block has its own, or several at several places."""
    notes = _may_rotate(trunk)
    return tuple(
        vectors(
            trunk,
            stored,
            stored.tables[0].layout(trunk),
            family=NAME,
            learned=True,
            notes=notes,
        )
        for stored in stored_vectors(trunk)
        if not is_sinusoidal(stored.values[0])
    )


def _may_rotate(trunk: Trunk) -> tuple[str, ...]:
    """Return a note where rotations, which no file stores, may act beside the table."""
    names = trunk.names
    if trunk.hints.arch is not None or trunk.matching(_STORED):
        return ()
    if "blocks.0.attn.q_bias" in names:
        return (f"EVA and EVA-02 have these keys; EVA-02 also rotates q and k {_ASK}",)
    who = next((who for who, signs in _ROTATE if all(name in names for name in signs)), None)
    if who is not None:
        return (f"{who} has these keys, and also rotates q and k {_ASK}",)
    if {"pos_embed", "blocks.0.attn.qkv.bias"} <= set(names) and all(map(_BARE.match, names)):
        return (
            "a ViT without CLS and last norm and Qwen3's ViT have these keys; the latter also "
            f"rotates q and k {_ASK}",
        )
    return _scaled_or_clip(names)


def _scaled_or_clip(names: Mapping[str, str]) -> tuple[str, ...]:
    is_scaled = "blocks.0.gamma_1" in names and "pos_embed" in names
    if is_scaled and not any(name in names for name in _NOT_DEIT):
        return (
            "DeiT-III and rope-vit's axial models with a table have these keys; the latter also "
            f"rotate q and k {_ASK}",
        )
    if "norm_pre.weight" in names and "pos_embed" in names:
        return (
            "CLIP's ViT and Perception Encoder have these keys; the latter also rotates q and k "
            f"{_ASK}",
        )
    return ()


families.register(NAME)(
    Family(
        name=NAME,
        looks_for="a table of vectors, one a token, e.g. `pos_embed` (tokens × D, H × W × D or "
        "D × H × W), `position_embeddings`, `patch_pos`, one a block (`pos_embed0` …), a stage "
        "(`levels.#.pos_embed`), a branch (`pos_embed_0`) or an axis (`pos_embed_y`), with LaPE's "
        "`blocks.#.pe_norm` where there are any",
        example="timm's vit_tiny_patch16_224, DeiT, DINOv2, CLIP; LaPE's deit_tiny_patch16_224",
        detect=detect,
        extract=extract,
        facts=FamilyFacts(
            native_scheme="learned",
            sentence="A learned table of positions",
            begins="random",
        ),
    )
)
