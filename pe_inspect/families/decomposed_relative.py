"""Relative vectors per axis that queries are multiplied with: SAM, MViTv2, BoTNet, HaloNet.

The logit of query q and key k gains q·(R_h[Δy] + R_w[Δx]): it depends on the content of the query,
so that there is a vector a pair and no bias.

Sources: arXiv:2112.01526 (MViTv2), Eq. 4; arXiv:2304.02643 (SAM); arXiv:2101.11605 (BoTNet);
arXiv:2103.12731 (HaloNet).
"""

from __future__ import annotations

import re
from typing import Final, Literal

from pe_inspect.errors import AmbiguousCheckpoint
from pe_inspect.families import Family, families
from pe_inspect.families.reading.grid import x
from pe_inspect.families.reading.tables import nonfinite_note
from pe_inspect.families.reading.tensors import Place
from pe_inspect.families.trunk import Trunk
from pe_inspect.kinds.parts import FamilyFacts
from pe_inspect.kinds.position_embedding import LayerPE, PositionEmbedding, Relation

__all__ = ["detect", "extract"]

NAME: Final = "decomposed_relative"

_SAM: Final = re.compile(r"(?P<at>.+)\.(?:attn|attention)\.rel_pos_h")
_BOTNET: Final = re.compile(r"(?P<at>.+)\.self_attn\.pos_embed\.height_rel")
_AXES: Final = {"rel_pos_h": "rel_pos_w", "height_rel": "width_rel"}
_POOLED: Final = (
    "where queries or keys are pooled, offsets count in steps of the finer of the two grids"
)
_USUAL_BLOCK: Final = 8  # HaloNet's block of queries, in patches
_FIRST_OF_STAGE: Final = re.compile(r"stages\.[1-9]\d*\.0")  # halves the grid


def detect(trunk: Trunk) -> bool:
    """Whether the checkpoint holds a pair of tables of relative vectors, one an axis."""
    return bool(trunk.places(_SAM) or trunk.places(_BOTNET))


def extract(trunk: Trunk) -> tuple[PositionEmbedding, ...]:
    """Read two tables a block, parts `y` and `x`.

    Raises:
        AmbiguousCheckpoint: a table lacks its partner, or has an even number of rows.
    """
    found = []
    if sam := trunk.places(_SAM):
        found.append(_embedding(trunk, sam, "query-key"))
    if botnet := trunk.places(_BOTNET):
        found.append(_embedding(trunk, botnet, "key-query"))
    return tuple(found)


def _embedding(
    trunk: Trunk, found: list[Place], offset: Literal["key-query", "query-key"]
) -> PositionEmbedding:
    from pe_inspect.families.reading.embedding import scheme

    keys: list[str] = []
    layers: list[LayerPE] = []
    notes = ["grids read from the rows of the tables, 2S−1 an axis"]
    for place in found:
        pair = _pair(trunk, place)
        tables, said = _tables(trunk, place, pair)
        keys, layers, notes = [*keys, *pair], [*layers, *tables], [*notes, *said]
    notes += [note for table in layers for note in nonfinite_note(table.name, table.values)]
    relation = Relation("sum", offset)
    return scheme(trunk, NAME, "relative", layers, keys, notes, relation=relation)


def _pair(trunk: Trunk, place: Place) -> tuple[str, str]:
    """Return the keys of the tables of rows and of columns."""
    attention = place.match.string[place.match.end("at") :]
    name = attention.rpartition(".")[2]
    rows = f"{place.stem}{attention}"
    columns = f"{rows.removesuffix(name)}{_AXES[name]}"
    shape = trunk.shape(rows)
    other = trunk.shape(columns) if columns in trunk else ()
    if len(shape) != 2 or len(other) != 2 or shape[1] != other[1]:
        raise AmbiguousCheckpoint(
            f"{trunk.stored_key(rows)} has shape {shape}, {_AXES[name]} beside it "
            f"{other or 'is missing'}: each block needs a table an axis, of one width. "
            "The file is not whole."
        )
    if shape[0] % 2 == 0 or other[0] % 2 == 0:
        raise AmbiguousCheckpoint(
            f"{trunk.stored_key(rows)} has {shape[0]} rows, {_AXES[name]} {other[0]}: a table "
            "of the offsets 1−S … S−1 has an odd number. The file is of another scheme."
        )
    return rows, columns


def _tables(
    trunk: Trunk, place: Place, pair: tuple[str, str]
) -> tuple[list[LayerPE], tuple[str, ...]]:
    """Read a block's tables whole; of HaloNet's, the rows that a block of queries can reach."""
    height, width = ((trunk.shape(key)[0] + 1) // 2 for key in pair)
    tables = [
        LayerPE(place.layer, trunk.float32(key), (height, width), part=part)
        for key, part in zip(pair, "yx")
    ]
    if _is_halo(trunk, place):
        return _reached(trunk, place, tables)
    return tables, (_POOLED,) if place.layer.startswith("stages.") and "rel_pos" in pair[0] else ()


def _is_halo(trunk: Trunk, place: Place) -> bool:
    """HaloNet projects queries and keys apart: keys come from a larger window."""
    return f"{place.stem}.self_attn.kv.weight" in trunk


def _reached(
    trunk: Trunk, place: Place, tables: list[LayerPE]
) -> tuple[list[LayerPE], tuple[str, ...]]:
    """Cut a table of 2·window − 1 rows to the offsets that occur, with offset 0 in the middle.

    Row window − 1 + halo is offset 0: positions in the window start at −halo.
    """
    window = tables[0].grid_size[0]
    block, halo, who = _block_size(trunk, place, window)
    unused = window - block
    cut = [
        LayerPE(table.layer, table.values[unused:], (block, block), part=table.part)
        for table in tables
    ]
    note = (
        f"queries in blocks of {x((block, block))} ({who}), keys up to {halo} patches beyond; the "
        f"first {unused} of {2 * window - 1} rows of each table are never used and were left out"
    )
    return cut, (note,)


def _block_size(trunk: Trunk, place: Place, window: int) -> tuple[int, int, str]:
    """Return a block's queries along an axis, how far keys reach beyond it, and who says so.

    Where a block is strided, its queries are every second row and column of its patches.
    """
    from pe_inspect.families.reading.named_model import module_at

    module = module_at(trunk, f"{place.path}.self_attn")
    if module is not None and hasattr(module, "pos_embed"):
        queries, patches = module.pos_embed.block_size, module.block_size
        who = f"from {trunk.hints.arch}"
    else:
        patches, who = _patches(trunk, window)
        is_strided = patches % 4 == 0 and _FIRST_OF_STAGE.fullmatch(place.path)
        queries = patches // 2 if is_strided else patches
    strided = "" if queries == patches else f", every second of {x((patches, patches))} patches"
    return queries, (window - patches) // 2, who + strided


def _patches(trunk: Trunk, window: int) -> tuple[int, str]:
    """Return the patches of a block along an axis where no module tells them, and who says so."""
    said = trunk.hints.grid_size
    if said is not None and said[0] == said[1] <= window and (window - said[0]) % 2 == 0:
        return said[0], "from --grid-size"
    is_usual = window > _USUAL_BLOCK and (window - _USUAL_BLOCK) % 2 == 0
    return (_USUAL_BLOCK if is_usual else window - 4), "assumed (--grid-size, --arch)"


families.register(NAME)(
    Family(
        name=NAME,
        looks_for="`attn.rel_pos_h` and `rel_pos_w`, or `self_attn.pos_embed.height_rel` and "
        "`width_rel`: 2S−1 offsets × head_dim an axis, in each block",
        example="SAM and ViTDet, MViTv2 (timm's mvitv2_tiny), BoTNet, HaloNet",
        detect=detect,
        extract=extract,
        facts=FamilyFacts(
            sentence="Learned vectors by the offset along each axis",
        ),
    )
)
