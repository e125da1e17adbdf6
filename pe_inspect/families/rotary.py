"""Rotations of queries and keys: s-chh's, RoPE-Mixed, EVA-02's, DINOv3's, and what timm computes.

Sources: arXiv:2104.09864 (RoFormer), arXiv:2403.13298 (RoPE-ViT), arXiv:2508.10104 (DINOv3).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from pe_inspect.errors import GridNotStored
from pe_inspect.families import Family, families
from pe_inspect.families.reading.stated import computes_rotations
from pe_inspect.families.reading.tables import nonfinite_note
from pe_inspect.families.trunk import Trunk
from pe_inspect.kinds.held_values import frozen_array
from pe_inspect.kinds.parts import FamilyFacts, checked_grid
from pe_inspect.kinds.position_embedding import LayerPE, PositionEmbedding

if TYPE_CHECKING:
    from pe_inspect.families.reading.rotation import Rotation

__all__ = ["detect", "extract"]

NAME: Final = "rotary"

_STORED: Final = re.compile(
    r"(?:rope\.)?freqs|(?:blocks\.\d+\.attn\.)?rope\.freqs_cos|rope_embed\.periods|"
    r"encoder\.\d+\.attention\.rotary_embedding\.x_cos|"
    r"(?:layers|blocks)\..+\.attn\.(?:rope_)?freqs|rotary_emb\.freqs|transformer\.pos_emb\.scales"
)


def detect(trunk: Trunk) -> bool:
    """Whether the file holds a rotary embedding, or the named architecture computes one."""
    if trunk.matching(_STORED):
        return True
    return computes_rotations(trunk) or _model(trunk) is not None


def extract(trunk: Trunk) -> tuple[PositionEmbedding, ...]:
    """Read the angles of every patch, or have timm's model compute them."""
    trunk = trunk if computes_rotations(trunk) else trunk.told_flat
    try:
        rotation = _rotation(trunk)
    except GridNotStored as error:
        if not computes_rotations(trunk):
            raise
        return (_without_grid(trunk, str(error)),)
    if rotation is None:
        return ()
    norms = trunk.norms
    tokens, said = trunk.prefix_tokens.total, trunk.hints.num_prefix_tokens
    shared = {id(angles): frozen_array(angles) for _, angles in rotation.layers}
    pe = PositionEmbedding(
        family=NAME,
        kind="phases",
        join="layer",
        tables=tuple(
            LayerPE(layer, shared[id(angles)], rotation.grid_size)
            for layer, angles in rotation.layers
        ),
        norms=norms.params,
        notes=(*rotation.notes, *_odd(rotation), *norms.notes, *trunk.missing_blocks),
        keys=tuple(map(trunk.stored_key, rotation.keys)),
        num_prefix_tokens=tokens if said is None else said,
        depth=trunk.depth,
        num_parameters=rotation.num_parameters,
        stored=rotation.stored,
        patch_size=trunk.patch_size,
    )
    return (pe,)


def _without_grid(trunk: Trunk, why: str) -> PositionEmbedding:
    """Describe what a config.json says to be computed, where nothing says for which grid."""
    from pe_inspect.families.reading.rotation import same_for_all
    from pe_inspect.families.reading.rotation_computed import described_by_config

    empty = frozen_array(np.zeros((1, 0, 0), np.float32))
    said = trunk.hints.num_prefix_tokens
    return PositionEmbedding(
        family=NAME,
        kind="phases",
        join="layer",
        tables=tuple(
            LayerPE(layer, held, checked_grid(None)) for layer, held in same_for_all(trunk, empty)
        ),
        norms=trunk.norms.params,
        notes=(why, *described_by_config(trunk), *trunk.norms.notes, *trunk.missing_blocks),
        num_prefix_tokens=trunk.prefix_tokens.total if said is None else said,
        depth=trunk.depth,
        stored=False,
        patch_size=trunk.patch_size,
    )


def _model(trunk: Trunk) -> Any | None:
    """Return timm's model of the architecture, where one is named, and it rotates."""
    if trunk.hints.arch is None:
        return None
    from pe_inspect.families.reading.arch import rotary_model

    return rotary_model(trunk)


def _rotation(trunk: Trunk) -> Rotation | None:
    from pe_inspect.families.reading.rotation_computed import (
        from_architecture,
        from_config,
        from_dinov3,
    )
    from pe_inspect.families.reading.rotation_stored import READERS

    model = _model(trunk)
    for read in (*READERS, from_dinov3, from_config):
        if (rotation := read(trunk, model)) is not None:
            return rotation
    return None if model is None else from_architecture(trunk, model)


def _odd(rotation: Rotation) -> tuple[str, ...]:
    return tuple(
        note for layer, angles in rotation.layers for note in nonfinite_note(layer, angles)
    )


families.register(NAME)(
    Family(
        name=NAME,
        looks_for="`rope.freqs` (RoPE-Mixed), `attn.rope_freqs` (Swin-RoPE), "
        "`rotary_embedding.x_cos` …, `rope.freqs_cos`, `rope_embed.periods`, `rotary_emb.freqs` or "
        "`pos_emb.scales`; most rotary models "
        "store nothing and need --arch timm:NAME, or transformers' config.json",
        example="timm's vit_small_patch16_rope_mixed_224, s-chh's pos_embed=rope, EVA-02, DINOv3",
        detect=detect,
        extract=extract,
        facts=FamilyFacts(
            sentence="Rotations of queries and keys (RoPE)",
            begins="rule",
        ),
        reads_frames=True,
    )
)
