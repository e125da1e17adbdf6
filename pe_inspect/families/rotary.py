"""Rotations of queries and keys: s-chh's, RoPE-Mixed, EVA-02's, DINOv3's, and what timm computes.

Sources: arXiv:2104.09864 (RoFormer), arXiv:2403.13298 (RoPE-ViT), arXiv:2508.10104 (DINOv3).
"""

from __future__ import annotations

import re
from typing import Final

from pe_inspect.families import Family, families
from pe_inspect.families._arch import rotary_model
from pe_inspect.families._grid import patch_size, prefix_tokens
from pe_inspect.families._names import depth, missing_blocks, trunk
from pe_inspect.families._norms import read_norms
from pe_inspect.families._rotation import READERS, Rotation, from_architecture
from pe_inspect.families._tables import nonfinite_note
from pe_inspect.loading.checkpoint import Checkpoint
from pe_inspect.position_embedding import LayerPE, PositionEmbedding, frozen_array

__all__ = ["detect", "extract"]

NAME: Final = "rotary"

_STORED: Final = re.compile(
    r"(?:rope\.)?freqs|rope\.freqs_cos|rope_embed\.periods|"
    r"encoder\.\d+\.attention\.rotary_embedding\.x_cos"
)


def detect(checkpoint: Checkpoint) -> bool:
    """Whether the file holds a rotary embedding, or the named architecture computes one."""
    if any(_STORED.fullmatch(bare) for bare in trunk(checkpoint)):
        return True
    return rotary_model(checkpoint) is not None


def extract(checkpoint: Checkpoint) -> tuple[PositionEmbedding, ...]:
    """Read the angles of every patch, or have timm's model compute them."""
    rotation = _rotation(checkpoint)
    if rotation is None:
        return ()
    norms = read_norms(checkpoint)
    tokens, said = prefix_tokens(checkpoint).total, checkpoint.hints.num_prefix_tokens
    shared = {id(angles): frozen_array(angles) for _, angles in rotation.layers}
    pe = PositionEmbedding(
        family=NAME,
        kind="phases",
        join="layer",
        layers=tuple(
            LayerPE(layer, shared[id(angles)], rotation.grid_size)
            for layer, angles in rotation.layers
        ),
        norms=norms.params,
        notes=(*rotation.notes, *_odd(rotation), *norms.notes, *missing_blocks(checkpoint)),
        keys=tuple(map(checkpoint.stored_key, rotation.keys)),
        num_prefix_tokens=tokens if said is None else said,
        depth=depth(checkpoint),
        num_parameters=rotation.num_parameters,
        stored=rotation.stored,
        patch_size=patch_size(checkpoint),
    )
    return (pe,)


def _rotation(checkpoint: Checkpoint) -> Rotation | None:
    model = rotary_model(checkpoint)
    for read in READERS:
        if (rotation := read(checkpoint, model)) is not None:
            return rotation
    return None if model is None else from_architecture(checkpoint, model)


def _odd(rotation: Rotation) -> tuple[str, ...]:
    return tuple(
        note for layer, angles in rotation.layers for note in nonfinite_note(layer, angles)
    )


families.register(NAME)(
    Family(
        name=NAME,
        looks_for="`rope.freqs` (RoPE-Mixed), `rotary_embedding.x_cos` …, `rope.freqs_cos` or "
        "`rope_embed.periods`; most rotary models store nothing and need --arch timm:NAME",
        example="timm's vit_small_patch16_rope_mixed_224, s-chh's pos_embed=rope, DINOv3",
        detect=detect,
        extract=extract,
    )
)
