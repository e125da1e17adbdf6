"""Positional attention of its own, mixed with content attention by a gate: ConViT's GPSA.

Each head scores an offset as w·(Δx, Δy, Δx² + Δy²) + b, Δ = key − query, and takes the softmax
over keys; σ(gate) is the share of that in the head's attention.

Source: arXiv:2103.10697 (ConViT), Eq. 6-8.
"""

from __future__ import annotations

import re
from typing import Final

import numpy as np

from pe_inspect.arrays import Float32
from pe_inspect.errors import AmbiguousCheckpoint
from pe_inspect.families import Family, families
from pe_inspect.families.reading.grid import image_grid, x
from pe_inspect.families.reading.tables import find_tables, nonfinite_note
from pe_inspect.families.reading.tensors import Place
from pe_inspect.families.trunk import Trunk
from pe_inspect.kinds.parts import FamilyFacts
from pe_inspect.kinds.position_embedding import LayerPE, PositionEmbedding

__all__ = ["detect", "extract"]

NAME: Final = "gated_positional"

_SCORES: Final = re.compile(r"(?P<at>.+)\.attn\.pos_proj\.weight")
_FEATURES: Final = 3  # Δx, Δy, and their squares' sum


def detect(trunk: Trunk) -> bool:
    """Whether the checkpoint holds gated positional attention."""
    return bool(_find(trunk))


def extract(trunk: Trunk) -> tuple[PositionEmbedding, ...]:
    """Compute the positional attention of every block that has it, (heads, patches, patches).

    Raises:
        AmbiguousCheckpoint: nothing says a grid, or a tensor is missing.
    """
    found = _find(trunk)
    if not found:
        return ()
    from pe_inspect.families.reading.embedding import expect_shapes, scheme

    grid, note = _grid_of(trunk)
    layers, gates, keys = [], [], list[str]()
    notes = [note]
    for place in found:
        own = _keys(trunk, place)
        expect_shapes(trunk, dict(zip(own, (f"heads {_FEATURES}", "heads", "heads"))))
        weight, bias, gate = (trunk.float32(key) for key in own)
        layers.append(LayerPE(place.layer, _attention(weight, bias, grid), grid))
        gates.append(f"{place.layer} {_share(gate):.2f}")
        keys += own
        notes += nonfinite_note(trunk.stored_key(own[0]), weight)
    notes.append(
        "positional attention, softmax over keys; its gated share σ(gating_param), mean over "
        f"heads: {', '.join(gates)}"
    )
    return (scheme(trunk, NAME, "function", layers, keys, notes),)


def _find(trunk: Trunk) -> list[Place]:
    return [
        place
        for place in trunk.places(_SCORES)
        if trunk.shape(f"{place.stem}.attn.pos_proj.weight")[1:] == (_FEATURES,)
    ]


def _keys(trunk: Trunk, place: Place) -> tuple[str, ...]:
    names = ("pos_proj.weight", "pos_proj.bias", "gating_param")
    keys = tuple(f"{place.stem}.attn.{name}" for name in names)
    for key in keys:
        if key not in trunk:
            raise AmbiguousCheckpoint(
                f"{keys[0]} has no {key} beside it: gated positional attention needs its bias "
                "and its gate. The file is not whole."
            )
    return keys


def _attention(
    weight: Float32[np.ndarray, "heads 3"],
    bias: Float32[np.ndarray, " heads"],
    grid_size: tuple[int, int],
) -> Float32[np.ndarray, "heads patches patches"]:
    y, x = (axis.ravel().astype(np.float64) for axis in np.indices(grid_size))
    down, right = y[None, :] - y[:, None], x[None, :] - x[:, None]
    features = np.stack([right, down, right**2 + down**2])
    scores = np.einsum("hf,fqk->hqk", weight.astype(np.float64), features) + bias[:, None, None]
    scores -= scores.max(axis=-1, keepdims=True)
    shares = np.exp(scores)
    return np.asarray(shares / shares.sum(axis=-1, keepdims=True), np.float32)


def _share(gate: Float32[np.ndarray, " heads"]) -> float:
    return float((1 / (1 + np.exp(-gate.astype(np.float64)))).mean())


def _grid_of(trunk: Trunk) -> tuple[tuple[int, int], str]:
    """Return the grid: as said, that of the table beside it, or that of the image."""
    if (said := trunk.hints.grid_size) is not None:
        return said, f"grid {x(said)} from {trunk.hints.origin('grid_size')}"
    if tables := find_tables(trunk):
        grid = tables[0].layout(trunk).grid_size
        return grid, f"grid {x(grid)} as in {trunk.stored_key(tables[0].key)}"
    if (grid_of_image := image_grid(trunk)) is not None:
        who = trunk.hints.origin("img_size")
        return grid_of_image, f"grid {x(grid_of_image)} from img_size ({who})"
    raise AmbiguousCheckpoint(
        f"{trunk.source} holds gated positional attention and says no grid. "
        "Pass --grid-size HxW (14x14 for 224 px at patch 16)."
    )


families.register(NAME)(
    Family(
        name=NAME,
        looks_for="`attn.pos_proj.weight` (heads × 3) and `attn.gating_param` in blocks",
        example="ConViT (timm's convit_tiny), beside its table of vectors",
        detect=detect,
        extract=extract,
        facts=FamilyFacts(
            sentence="Attention by position alone, mixed with that by content through a gate",
        ),
    )
)
