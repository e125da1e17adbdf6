"""Rotations of queries and keys: s-chh's, RoPE-Mixed, EVA-02's, DINOv3's, and what timm computes.

Sources: arXiv:2104.09864 (RoFormer), arXiv:2403.13298 (RoPE-ViT), arXiv:2508.10104 (DINOv3).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

from pe_inspect._values import frozen_array
from pe_inspect.families import Family, families
from pe_inspect.families._arch import rotary_model
from pe_inspect.families._grid import patch_size, prefix_tokens
from pe_inspect.families._names import depth, missing_blocks, trunk
from pe_inspect.families._norms import read_norms
from pe_inspect.families._rotation import Rotation
from pe_inspect.families._rotation_computed import (
    from_architecture,
    from_config,
    from_dinov3,
    has_config,
)
from pe_inspect.families._rotation_stored import (
    from_eva02,
    from_mixed,
    from_mixed_blocks,
    from_schh,
    from_swin,
)
from pe_inspect.families._tables import nonfinite_note
from pe_inspect.loading.checkpoint import Checkpoint
from pe_inspect.position_embedding import LayerPE, PositionEmbedding

__all__ = ["detect", "extract"]

NAME: Final = "rotary"

_STORED: Final = re.compile(
    r"(?:rope\.)?freqs|(?:blocks\.\d+\.attn\.)?rope\.freqs_cos|rope_embed\.periods|"
    r"encoder\.\d+\.attention\.rotary_embedding\.x_cos|"
    r"(?:layers|blocks)\..+\.attn\.(?:rope_)?freqs"
)
_READERS: Final[tuple[Callable[[Checkpoint, Any], Rotation | None], ...]] = (
    from_schh,
    from_mixed,
    from_mixed_blocks,
    from_swin,
    from_eva02,
    from_dinov3,
    from_config,
)


def detect(checkpoint: Checkpoint) -> bool:
    """Whether the file holds a rotary embedding, or the named architecture computes one."""
    if any(_STORED.fullmatch(bare) for bare in trunk(checkpoint)):
        return True
    return has_config(checkpoint) or rotary_model(checkpoint) is not None


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
    for read in _READERS:
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
        looks_for="`rope.freqs` (RoPE-Mixed), `attn.rope_freqs` (Swin-RoPE), "
        "`rotary_embedding.x_cos` …, `rope.freqs_cos` or `rope_embed.periods`; most rotary models "
        "store nothing and need --arch timm:NAME, or transformers' config.json",
        example="timm's vit_small_patch16_rope_mixed_224, s-chh's pos_embed=rope, EVA-02, DINOv3",
        detect=detect,
        extract=extract,
    )
)
