"""Clipped relative vectors per axis, for queries and for values, as s-chh's ViT stores them.

Source: arXiv:1803.02155, section 3, split over the two axes; index 0 of each table is CLS.
"""

from __future__ import annotations

import re
from typing import Final

import numpy as np

from pe_inspect.errors import AmbiguousCheckpoint
from pe_inspect.families import Family, families
from pe_inspect.families.reading.grid import Layout, image_grid, layout, period, x
from pe_inspect.families.reading.names import in_order
from pe_inspect.families.reading.tables import nonfinite_note
from pe_inspect.families.trunk import Trunk
from pe_inspect.kinds.parts import FamilyFacts
from pe_inspect.kinds.position_embedding import LayerPE, PositionEmbedding

__all__ = ["detect", "extract"]

NAME: Final = "shaw_relative"

_TABLE: Final = re.compile(
    r"att(?:entio)?n\.(query|value)_pos_embedding\.([xy])_relative_embedding_table\.weight"
)
_CLS_ROWS: Final = 1


def detect(trunk: Trunk) -> bool:
    """Whether the checkpoint holds tables of relative vectors."""
    return bool(_tables(trunk))


def extract(trunk: Trunk) -> tuple[PositionEmbedding, ...]:
    """Read the tables: four a block, `query.y`, `query.x`, `value.y`, `value.x`."""
    tables = _tables(trunk)
    if not tables:
        return ()
    from pe_inspect.families.reading.embedding import expect_shapes

    for _, _, key in tables:
        expect_shapes(trunk, {key: "offsets channels"})
    where, norms = _layout(trunk), trunk.norms
    layers = tuple(
        LayerPE(layer, trunk.float32(key), where.grid_size, _CLS_ROWS, part)
        for layer, part, key in tables
    )
    keys = tuple(trunk.stored_key(key) for _, _, key in tables)
    odd = [note for key, pe in zip(keys, layers) for note in nonfinite_note(key, pe.values)]
    clip = (layers[0].values.shape[0] - _CLS_ROWS - 1) // 2
    notes = (*where.notes, f"offsets are clipped to ±{clip}; row 0 of each table is CLS", *odd)
    pe = PositionEmbedding(
        family=NAME,
        kind="relative",
        join="layer",
        tables=layers,
        norms=norms.params,
        notes=(*notes, *norms.notes, *trunk.missing_blocks),
        keys=keys,
        num_prefix_tokens=_num_prefix_tokens(trunk),
        depth=trunk.depth,
        num_parameters=sum(table.values.size for table in layers),
        patch_size=trunk.patch_size,
    )
    return (pe,)


def _tables(trunk: Trunk) -> list[tuple[str, str, str]]:
    """Return (layer, part, key) in block order, y before x."""
    found = [
        (each.layer, f"{each.groups[1]}.{each.groups[2]}", each.key)
        for each in trunk.matching_in_blocks(_TABLE)
    ]
    return sorted(found, key=lambda each: (in_order(each[0]), each[1][:-1], each[1][-1] == "x"))


def _layout(trunk: Trunk) -> Layout:
    """Return the grid, from what was said or from the stored table of distances.

    Raises:
        AmbiguousCheckpoint: neither is there, or they contradict each other.
    """
    key = next((key for key in trunk.names.values() if key.endswith("x_distances")), None)
    if key is None:
        for hint, grid in _stated(trunk):
            return Layout(grid, _CLS_ROWS, (f"grid {x(grid)} from {trunk.hints.origin(hint)}",))
        raise AmbiguousCheckpoint(
            f"The relative tables of {trunk.source} say no grid, and the file holds no "
            "x_distances buffer. Pass --grid-size HxW."
        )
    rows = trunk.shape(key)[0]
    if trunk.hints.grid_size is not None:
        return layout(trunk, trunk.stored_key(key), rows)
    patches = rows - _CLS_ROWS
    columns = period(np.asarray(trunk.tensor(key))[_CLS_ROWS, _CLS_ROWS:, None])
    if patches % columns:
        return layout(trunk, trunk.stored_key(key), rows)
    grid = (patches // columns, columns)
    return Layout(grid, _CLS_ROWS, (f"grid {x(grid)} read from x_distances",))


def _stated(trunk: Trunk) -> list[tuple[str, tuple[int, int]]]:
    """Return (hint, grid) of what was said: of the grid itself, or of the image."""
    said = (("grid_size", trunk.hints.grid_size), ("img_size", image_grid(trunk)))
    return [(hint, grid) for hint, grid in said if grid is not None]


def _num_prefix_tokens(trunk: Trunk) -> int:
    """Return the model's prefix tokens; tables without any other tensor are taken to have CLS."""
    said, tokens = trunk.hints.num_prefix_tokens, trunk.prefix_tokens
    if said is not None:
        return said
    is_trunk = any(name.startswith("patch_embed.") for name in trunk.names)
    return tokens.total if is_trunk else max(tokens.total, _CLS_ROWS)


families.register(NAME)(
    Family(
        name=NAME,
        looks_for="`{query,value}_pos_embedding.{x,y}_relative_embedding_table` in each block: "
        "2k+1 clipped offsets and one row for CLS",
        example="s-chh/2D-Positional-Encoding-Vision-Transformer with pos_embed=relative; this "
        "project's own scheme=relative",
        detect=detect,
        extract=extract,
        facts=FamilyFacts(
            sentence="Learned vectors by the offset of two positions (Shaw et al.)",
            serves_any_grid=True,
        ),
    )
)
