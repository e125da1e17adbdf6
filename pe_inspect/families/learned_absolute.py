"""Learned tables that are added to the tokens: ViT, DeiT, DINO, CLIP, LaPE and their kin.

Source: arXiv:2010.11929, section 3.1 and appendix D.4; LaPE's joins, arXiv:2212.05262.
"""

from __future__ import annotations

from typing import Final

from pe_inspect.families import Family, families
from pe_inspect.families._names import trunk
from pe_inspect.families._sincos import is_sinusoidal
from pe_inspect.families._vectors import stored_vectors, vectors
from pe_inspect.loading.checkpoint import Checkpoint
from pe_inspect.position_embedding import PositionEmbedding

__all__ = ["detect", "extract"]

NAME: Final = "learned_absolute"


def detect(checkpoint: Checkpoint) -> bool:
    """Whether the checkpoint holds a table whose rows are not sines and cosines."""
    stored = stored_vectors(checkpoint)
    return stored is not None and not is_sinusoidal(stored.values[0])


def extract(checkpoint: Checkpoint) -> tuple[PositionEmbedding, ...]:
    """Read the table, or the tables where every block has its own."""
    stored = stored_vectors(checkpoint)
    if stored is None:
        return ()
    where, notes = stored.tables[0].layout(checkpoint), _may_rotate(checkpoint)
    return (vectors(checkpoint, stored, where, family=NAME, learned=True, notes=notes),)


def _may_rotate(checkpoint: Checkpoint) -> tuple[str, ...]:
    """Return a note where a rotary embedding, which no file stores, may act beside the table."""
    if "blocks.0.attn.q_bias" not in trunk(checkpoint) or checkpoint.hints.arch is not None:
        return ()
    return ("EVA and EVA-02 have these keys; EVA-02 also rotates q and k (--arch timm:NAME)",)


families.register(NAME)(
    Family(
        name=NAME,
        looks_for="a table of vectors, one a token, e.g. `pos_embed`, `pos_embedding`, "
        "`position_embeddings` or `pos_embed0` … `pos_embed11`, with LaPE's "
        "`blocks.#.pe_norm` where there are any",
        example="timm's vit_tiny_patch16_224, DeiT, DINOv2, CLIP; LaPE's deit_tiny_patch16_224",
        detect=detect,
        extract=extract,
    )
)
