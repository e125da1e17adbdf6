"""Learned tables that are added to the tokens: ViT, DeiT, DINO, CLIP, LaPE and their kin.

Source: arXiv:2010.11929, section 3.1 and appendix D.4; LaPE's joins, arXiv:2212.05262.
"""

from __future__ import annotations

from typing import Final

from pe_inspect.families import Family, families
from pe_inspect.families.reading.same_keys import may_rotate
from pe_inspect.families.reading.sincos import is_sinusoidal
from pe_inspect.families.reading.vectors import stored_vectors, vectors
from pe_inspect.families.trunk import Trunk
from pe_inspect.kinds.family_facts import FamilyFacts
from pe_inspect.kinds.position_embedding import PositionEmbedding

__all__ = ["detect", "extract"]

NAME: Final = "learned_absolute"


def detect(trunk: Trunk) -> bool:
    """Whether the checkpoint holds a table whose rows are not sines and cosines."""
    return any(not is_sinusoidal(stored.values[0]) for stored in stored_vectors(trunk))


def extract(trunk: Trunk) -> tuple[PositionEmbedding, ...]:
    """Read the table, the tables where every block has its own, or several at several places."""
    notes = may_rotate(trunk)
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
            sentence="A learned table of positions",
            begins="random",
        ),
    )
)
