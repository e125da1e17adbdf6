"""Learned biases by distance, added to the attention logits: LeViT, TinyViT, EfficientFormer.

The bias of a query on a key depends on |Δy| and |Δx| alone, so a table has one entry a patch.

Sources: arXiv:2104.01136 (LeViT), section 4.2; arXiv:2207.10666 (TinyViT); arXiv:2206.01191 and
arXiv:2212.08059 (EfficientFormer); arXiv:2305.07027 (EfficientViT).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from math import isqrt, log, sqrt
from typing import Final

import numpy as np

from pe_inspect.arrays import Float32
from pe_inspect.errors import AmbiguousCheckpoint, UndecidedGrid
from pe_inspect.families import Family, families
from pe_inspect.families.reading.grid import factor_pairs, x
from pe_inspect.families.reading.tables import nonfinite_note
from pe_inspect.families.reading.tensors import Place
from pe_inspect.families.trunk import Trunk
from pe_inspect.kinds.held_values import Lookup
from pe_inspect.kinds.parts import FamilyFacts
from pe_inspect.kinds.position_embedding import LayerPE, PositionEmbedding

__all__ = ["detect", "extract", "find_places", "index_of", "table_of"]

NAME: Final = "distance_bias"

_TABLE: Final = re.compile(
    r"(?P<at>.+?)(?:(?:\.(?:attn|attn_downsample|token_mixer|mixer\.m\.attn|m))?\.attention_biases"
    r"|\.0\.pos_bias\.weight)"  # lucidrains' LeViT
)
_EMBEDDING: Final = ".pos_bias.weight"
_INDICES: Final = {"attention_biases": "attention_bias_idxs", "pos_bias.weight": "pos_indices"}


def detect(trunk: Trunk) -> bool:
    """Whether the checkpoint holds tables of distances."""
    return bool(find_places(trunk))


def extract(trunk: Trunk) -> tuple[PositionEmbedding, ...]:
    """Read the tables; each becomes the bias of every pair of patches.

    Where a block halves the grid, only every second row and column asks; the bias is given for
    all of them, and a note says so.

    Raises:
        AmbiguousCheckpoint: a table is of no square grid, and nothing says which.
    """
    from pe_inspect.families.reading.bias import distance_index
    from pe_inspect.families.reading.embedding import scheme

    found = find_places(trunk)
    grids = [_grid(trunk, place) for place in found]
    stored = {place.stem: _read(trunk, place) for place in found}
    layers = [
        LayerPE.from_lookup(place.layer, Lookup(stored[place.stem], distance_index(grid)), grid)
        for place, (grid, _) in zip(found, grids)
    ]
    notes = (
        *(note for _, note in grids),
        *_halving(trunk, found),
        *_odd(trunk, found, stored),
        *_scaled(found),
        "the bias depends on distance alone: left is as right, and up as down",
    )
    return (scheme(trunk, NAME, "bias", layers, map(table_of, found), notes),)


def find_places(trunk: Trunk) -> list[Place]:
    """Return where the tables of distances lie, in block order."""
    return [p for p in trunk.places(_TABLE) if len(trunk.shape(table_of(p))) == 2]


def table_of(place: Place) -> str:
    """Return the checkpoint's name of a table."""
    return place.stem + place.match.string[place.match.end("at") :]


def _read(trunk: Trunk, place: Place) -> Float32[np.ndarray, "heads entries"]:
    """Read a table, one row a head, as it is added to the logits.

    lucidrains' LeViT stores its transpose, and divides it by the scale of the logits, dim_key^-0.5.
    """
    values = trunk.float32(table_of(place))
    if not table_of(place).endswith(_EMBEDDING):
        return values
    query = f"{table_of(place).removesuffix(_EMBEDDING)}.to_q.0.weight"
    if query not in trunk:
        raise AmbiguousCheckpoint(
            f"{trunk.stored_key(table_of(place))} is multiplied by the root of a head's "
            f"channels, which {query} would tell, and the file lacks it. Pass the whole checkpoint."
        )
    channels = trunk.shape(query)[0] // values.shape[1]
    return values.T * np.float32(sqrt(channels))


def _scaled(found: Iterable[Place]) -> Iterator[str]:
    if any(table_of(place).endswith(_EMBEDDING) for place in found):
        yield "each table is multiplied by the root of a head's channels, as the model's code does"


def _grid(trunk: Trunk, place: Place) -> tuple[tuple[int, int], str]:
    """Return the grid of a table and what it was taken from: the square one, or the likest."""
    is_embedding = table_of(place).endswith(_EMBEDDING)
    entries = trunk.shape(table_of(place))[0 if is_embedding else 1]
    hints = trunk.hints
    for hint, said in (("grid_size", hints.grid_size), ("img_size", hints.img_size)):
        if said is not None:
            grid = _likest(entries, said)
            who = hints.origin(hint)
            return grid, f"grid {x(grid)} of {entries} distances, by the shape of {who}"
    side = isqrt(entries)
    if side * side == entries:
        return (side, side), f"grid {x((side, side))} inferred from {entries} distances"
    grids = [grid for a, b in factor_pairs(entries) for grid in ((a, b), (b, a))]
    listed = "; ".join(f"{x(grid)} (--grid-size {grid[0]}x{grid[1]})" for grid in grids)
    raise UndecidedGrid(
        f"{trunk.stored_key(table_of(place))} has {entries} distances, which are no square. Each "
        f"of these fits: {listed}. The other stages follow its shape."
    )


def _likest(entries: int, said: tuple[int, int]) -> tuple[int, int]:
    """Return the grid of so many patches whose sides are nearest in proportion to those said."""
    turned = ((b, a) for a, b in factor_pairs(entries))
    return min(
        (*factor_pairs(entries), *turned),
        key=lambda grid: abs(log(grid[0] / grid[1]) - log(said[0] / said[1])),
    )


def _halving(trunk: Trunk, found: Iterable[Place]) -> Iterator[str]:
    halving = [place.layer for place in found if _halves(trunk, place)]
    if halving:
        yield (
            f"in {', '.join(halving)} only every second row and column of patches asks; the bias "
            "is given for all of them"
        )


def _halves(trunk: Trunk, place: Place) -> bool:
    """Whether fewer patches ask than are asked: by the name, or by the index that a file keeps."""
    index = index_of(table_of(place))
    shape = trunk.shape(index) if index in trunk else ()
    return "downsample" in place.path or (len(shape) == 2 and shape[0] < shape[1])


def index_of(table: str) -> str:
    """Return where a file that persists a table's index keeps it."""
    for name, indices in _INDICES.items():
        table = table.replace(name, indices)
    return table


def _odd(
    trunk: Trunk,
    found: Iterable[Place],
    stored: dict[str, Float32[np.ndarray, "_heads _entries"]],
) -> Iterator[str]:
    for place in found:
        yield from nonfinite_note(trunk.stored_key(table_of(place)), stored[place.stem])


families.register(NAME)(
    Family(
        name=NAME,
        looks_for="`attention_biases` of heads × H·W distances (|Δy|, |Δx|) in each attention, or "
        "`pos_bias.weight` of H·W × heads",
        example="timm's levit_128s, tiny_vit_5m_224, efficientformer_l1, efficientvit_m0",
        detect=detect,
        extract=extract,
        facts=FamilyFacts(
            sentence="A learned bias on attention, by the distance of two positions",
            is_of_stages=True,
        ),
    )
)
