"""Rotary angles that code computes: from stored periods, from a config.json, by timm's module."""

from __future__ import annotations

from typing import Any, cast

import numpy as np

from pe_inspect.errors import AmbiguousCheckpoint, GridNotStored
from pe_inspect.families.reading.arch import rope_of, rotary_table, unwrapped
from pe_inspect.families.reading.rotation import (
    PAIRINGS,
    Pairing,
    Rotation,
    first_of_pairs,
    grid_of,
    pairing_of,
    same_for_all,
)
from pe_inspect.families.reading.rotation_rules import (
    centred_angles,
    rule_of,
    video_grid,
)
from pe_inspect.families.reading.stated import computes_rotations
from pe_inspect.families.trunk import Trunk

__all__ = ["described_by_config", "from_architecture", "from_config", "from_dinov3"]


def from_dinov3(trunk: Trunk, model: Any) -> Rotation | None:
    """Compute DINOv3's angles from its stored periods.

    Source: arXiv:2508.10104, section 3.2.
    """
    key = trunk.names.get("rope_embed.periods")
    if key is None:
        return None
    grid, notes = grid_of(trunk, model, key)
    angles = centred_angles(trunk.float32(key), grid).astype(np.float32)[None]
    layers = same_for_all(trunk, angles)
    return Rotation(layers, grid, (key,), notes=(*notes, PAIRINGS["half"]))


def from_config(trunk: Trunk, model: Any) -> Rotation | None:
    """Compute what transformers' rotary models compute, from their config.json.

    Raises:
        GridNotStored: the type's rule is known, and nothing says a grid; or it is not known.
    """
    if not computes_rotations(trunk):
        return None
    config, hints = trunk.vision_config, trunk.hints
    rule = rule_of(config)
    if rule is None:
        raise GridNotStored(
            f"config.json says that {config.get('model_type')} turns queries and keys by axis "
            "(rope_type axial), by a rule that this version does not know: no angles are computed."
        )
    head_dim = _head_dim(trunk)
    grid, notes = _grid_said(trunk) or grid_of(trunk, model, "config.json")
    base = hints.rope_theta or rule.base
    said = f"computed from config.json: {config['model_type']}, base {base:g}, {head_dim} channels"
    layers = same_for_all(trunk, rule.at(base, head_dim, grid))
    pairing = PAIRINGS[cast("Pairing", rule.pairing)]
    known = tuple(filter(None, (said, *notes, pairing, rule.note)))
    return Rotation(layers, grid, stored=False, notes=known)


def _grid_said(trunk: Trunk) -> tuple[Any, tuple[str, ...]] | None:
    """Return the grid of two axes or three that a flag says, or a config.json of clips."""
    said, clip = trunk.hints.grid_size, video_grid(trunk.vision_config)
    grid = said if said is not None else clip
    if grid is None:
        return None
    who = "config.json" if said is None else trunk.hints.origin("grid_size")
    return grid, (f"grid {'×'.join(map(str, grid))} from {who}",)


def described_by_config(trunk: Trunk) -> tuple[str, ...]:
    """Return what a config.json says of a rotary model whose grid nothing tells."""
    config, rule = trunk.vision_config, rule_of(trunk.vision_config)
    said = f"config.json: {config.get('model_type')}"
    if rule is None:
        return (said,)
    base, heads = trunk.hints.rope_theta or rule.base, trunk.hints.num_heads
    return (f"{said}, {heads} heads of {_head_dim(trunk)} channels, base {base:g}",)


def _head_dim(trunk: Trunk) -> int:
    """Return the channels of a head, as a config.json gives them.

    Raises:
        AmbiguousCheckpoint: it does not give them.
    """
    config = trunk.vision_config
    width = config.get("embed_dim", config.get("hidden_size"))
    heads = trunk.hints.num_heads or config.get("num_attention_heads")
    said = config.get("head_dim")
    if isinstance(said, int):
        return said
    if not isinstance(width, int) or not heads or width % heads:
        raise AmbiguousCheckpoint(
            f"config.json of {trunk.source} says hidden_size {width} and num_attention_heads "
            f"{heads}, which give no head_dim. Pass --num-heads N, or mend the config."
        )
    return width // heads


def from_architecture(trunk: Trunk, model: Any) -> Rotation:
    """Ask timm's model of the named architecture: the file holds nothing.

    Raises:
        AmbiguousCheckpoint: the architecture learns its frequencies, so the file is of another.
    """
    arch, who = trunk.hints.arch, trunk.hints.origin("arch")
    if any(name.startswith("freqs") for name, _ in rope_of(model).named_parameters()):
        raise AmbiguousCheckpoint(
            f"{arch} ({who}) learns its frequencies (rope.freqs), and {trunk.source} holds "
            "none. Name the architecture that the file is of."
        )
    grid, notes = grid_of(trunk, model, "rope")
    sines, cosines = rotary_table(model, grid)
    pairing = pairing_of(cosines)
    angles = unwrapped(first_of_pairs(np.arctan2(sines, cosines), pairing), grid)
    layers = same_for_all(trunk, angles[None])
    said = f"computed from {who} {arch}: the file stores nothing of its rotary embedding"
    pairs = (PAIRINGS[pairing],) if pairing else ()
    return Rotation(layers, grid, stored=False, notes=(said, *notes, *pairs))
