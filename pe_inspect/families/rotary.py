"""Rotations of queries and keys: s-chh's, RoPE-Mixed, EVA-02's, DINOv3's, and what timm computes.

Sources: arXiv:2104.09864 (RoFormer), arXiv:2403.13298 (RoPE-ViT), arXiv:2508.10104 (DINOv3).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

import numpy as np

from pe_inspect.families import Family, families
from pe_inspect.families.reading.arch import rotary_model
from pe_inspect.families.reading.rotation import PAIRINGS, Rotation, grid_of, same_for_all
from pe_inspect.families.reading.rotation_computed import (
    from_architecture,
    from_config,
    from_dinov3,
    has_config,
)
from pe_inspect.families.reading.rotation_stored import (
    from_eva02,
    from_mixed,
    from_mixed_blocks,
    from_schh,
    from_swin,
)
from pe_inspect.families.reading.tables import nonfinite_note
from pe_inspect.families.trunk import Trunk
from pe_inspect.kinds.family_facts import FamilyFacts
from pe_inspect.kinds.held_values import frozen_array
from pe_inspect.kinds.position_embedding import LayerPE, PositionEmbedding

__all__ = ["detect", "extract"]

NAME: Final = "rotary"

_STORED: Final = re.compile(
    r"(?:rope\.)?freqs|(?:blocks\.\d+\.attn\.)?rope\.freqs_cos|rope_embed\.periods|"
    r"encoder\.\d+\.attention\.rotary_embedding\.x_cos|"
    r"(?:layers|blocks)\..+\.attn\.(?:rope_)?freqs|rotary_emb\.freqs|transformer\.pos_emb\.scales"
)


def _from_vit_nd(trunk: Trunk, model: Any) -> Rotation | None:
    """Read the fixed frequencies of lucidrains' ViTND, (heads, head_dim / 2, 2): rows, columns."""
    key = trunk.names.get("rotary_emb.freqs", "")
    shape = trunk.shape(key) if key else ()
    if len(shape) != 3 or shape[2] != 2:
        return None
    grid, notes = grid_of(trunk, model, key)
    positions = np.indices(grid).reshape(2, -1).T.astype(np.float32)
    angles = positions @ trunk.float32(key).swapaxes(1, 2)
    said = (*notes, PAIRINGS["half"])
    return Rotation(same_for_all(trunk, angles), grid, (key,), notes=said)


def _from_rvt(trunk: Trunk, model: Any) -> Rotation | None:
    """Read the fixed scales of lucidrains' RvT, whose rows, then columns, go from -π to π."""
    key = trunk.names.get("transformer.pos_emb.scales", "")
    if not key or len(trunk.shape(key)) != 1:
        return None
    grid, notes = grid_of(trunk, model, key)
    scales = np.pi * trunk.float32(key)
    axes = np.meshgrid(*(np.linspace(-1, 1, side) for side in grid), indexing="ij")
    angles = np.concatenate([axis.reshape(-1, 1) * scales for axis in axes], axis=1)
    unsure = "the scales are stored even where the model was built with use_rotary=False"
    layers = same_for_all(trunk, angles.astype(np.float32)[None])
    return Rotation(layers, grid, (key,), notes=(*notes, PAIRINGS["interleaved"], unsure))


_READERS: Final[tuple[Callable[[Trunk, Any], Rotation | None], ...]] = (
    from_schh,
    from_mixed,
    from_mixed_blocks,
    from_swin,
    from_eva02,
    _from_vit_nd,
    _from_rvt,
    from_dinov3,
    from_config,
)


def detect(trunk: Trunk) -> bool:
    """Whether the file holds a rotary embedding, or the named architecture computes one."""
    if trunk.matching(_STORED):
        return True
    return has_config(trunk) or rotary_model(trunk) is not None


def extract(trunk: Trunk) -> tuple[PositionEmbedding, ...]:
    """Read the angles of every patch, or have timm's model compute them."""
    rotation = _rotation(trunk)
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


def _rotation(trunk: Trunk) -> Rotation | None:
    model = rotary_model(trunk)
    for read in _READERS:
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
    )
)
