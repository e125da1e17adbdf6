"""Rotary angles that code computes: from stored periods, from a config.json, by timm's module."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from pe_inspect.arrays import Float
from pe_inspect.errors import AmbiguousCheckpoint
from pe_inspect.families.reading.arch import rope_of, rotary_table, unwrapped
from pe_inspect.families.reading.rotation import (
    PAIRINGS,
    Rotation,
    first_of_pairs,
    grid_of,
    pairing_of,
    same_for_all,
)
from pe_inspect.families.reading.stated import DINOV3, computes_rotations
from pe_inspect.families.trunk import Trunk

__all__ = ["from_architecture", "from_config", "from_dinov3"]

_DINOV3_BASE: Final = 100.0
_PIXTRAL_BASE: Final = 10000.0


def from_dinov3(trunk: Trunk, model: Any) -> Rotation | None:
    """Compute DINOv3's angles from its stored periods.

    Source: arXiv:2508.10104, section 3.2.
    """
    key = trunk.names.get("rope_embed.periods")
    if key is None:
        return None
    grid, notes = grid_of(trunk, model, key)
    angles = _centred_angles(trunk.float32(key), grid)
    layers = same_for_all(trunk, angles)
    return Rotation(layers, grid, (key,), notes=(*notes, PAIRINGS["half"]))


def from_config(trunk: Trunk, model: Any) -> Rotation | None:
    """Compute what transformers' DINOv3 and Pixtral compute, from their config.json."""
    if not computes_rotations(trunk):
        return None
    config, hints = trunk.vision_config, trunk.hints
    head_dim = _head_dim(trunk, config)
    grid, notes = grid_of(trunk, model, "config.json")
    is_dinov3 = config["model_type"] == DINOV3
    base = hints.rope_theta or (_DINOV3_BASE if is_dinov3 else _PIXTRAL_BASE)
    if is_dinov3:
        periods = base ** (4 * np.arange(head_dim // 4) / head_dim)
        angles = _centred_angles(periods, grid)
    else:
        angles = _alternating_angles(base ** (-2 * np.arange(head_dim // 2) / head_dim), grid)
    said = f"computed from config.json: {config['model_type']}, base {base:g}, {head_dim} channels"
    layers = same_for_all(trunk, angles)
    return Rotation(layers, grid, stored=False, notes=(said, *notes, PAIRINGS["half"]))


def _head_dim(trunk: Trunk, config: Mapping[str, Any]) -> int:
    width = config.get("hidden_size")
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


def _centred_angles(
    periods: Float[np.ndarray, " quarter_head_dim"], grid_size: tuple[int, int]
) -> Float[np.ndarray, "1 patches half_head_dim"]:
    """2π·coordinate/period, y before x; −1 … 1 over the centres of the patches of each axis."""
    places = zip(np.indices(grid_size), grid_size)
    centres = ((i.reshape(-1, 1) + 0.5) / side * 2 - 1 for i, side in places)
    angles = np.concatenate([2 * np.pi * axis / periods for axis in centres], axis=1)
    return angles.astype(np.float32)[None]


def _alternating_angles(
    frequencies: Float[np.ndarray, " half_head_dim"], grid_size: tuple[int, int]
) -> Float[np.ndarray, "1 patches half_head_dim"]:
    """Y times every other frequency from the first on, then x times the rest."""
    rows, columns = (axis.reshape(-1, 1) for axis in np.indices(grid_size))
    angles = np.concatenate([rows * frequencies[::2], columns * frequencies[1::2]], axis=1)
    return angles.astype(np.float32)[None]


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
