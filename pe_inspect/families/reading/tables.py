"""Where a checkpoint keeps the tables that are added to its tokens, whatever the library.

Tables form groups, and a group becomes one embedding: LaPE's one table a block are one group of
many; the branches of CrossViT, the stages of Visformer and NesT, the two levels of TNT, and
Hiera's window beside its grid are groups of one, since each has a grid and a width of its own.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from math import isqrt
from typing import Final

from pe_inspect.errors import AmbiguousCheckpoint
from pe_inspect.families.reading.grid import image_grid, x
from pe_inspect.families.reading.table import StoredTable, channels_first, nonfinite_note, table_of
from pe_inspect.families.reading.tensors import answered_once
from pe_inspect.families.reading.tokens import PrefixTokens
from pe_inspect.families.trunk import Trunk

__all__ = ["StoredTable", "find_groups", "find_tables", "nonfinite_note"]

Group = tuple[StoredTable, ...]

# Bare names of the one table, the likeliest first.
_ONE: Final = (
    "pos_embed",
    "pos_embed_abs",
    "embeds.pos_embed",
    "patch_pos",
    "outer_pos",
    "pos_embedding",
    "embeddings.position_embeddings",
    "embeddings.position_embedding.weight",
    "embeddings.position_embedding",
    "encoder.pos_embedding",
    "Transformer/posembed_input/pos_embedding",
    "Transformer/pos_embedding",
    "embedding.pos_embedding",
    "embedding.pos_embedding.pos_embedding",
    "positional_embedding",
    "positional_emb",
    "absolute_pos_embed",
    "position_embd.weight",
    "v.position_embd.weight",
)
_UNNAMED: Final = ("", "arr_0")  # what a bare .npy and numpy.savez call their array
_NUMBERED: Final = re.compile(r"pos_embed(\d+)")
_WINDOW: Final = ("pos_embed_win", "pos_embed_window")
_INNER: Final = ("pixel_pos", "inner_pos")
_POOLS: Final = ("head.pos_embed", "attnpool.positional_embedding")
_LEVEL: Final = re.compile(r"(levels\.\d+)\.pos_embed")
_BRANCH: Final = re.compile(r"pos_embed_(\d+)")
_AXES: Final = (
    ("embeds.pos_embed_y", "embeds.pos_embed_x"),
    ("pos_embed_y", "pos_embed_x"),
    ("pos_embed_height", "pos_embed_width"),
)
_BOTH_AXES: Final = (
    "patch_embed.position_embedding_table",  # timm's
    "patch_embedder.position_embedding_table",  # transformers'
)
_SPACE_TIME: Final = ("pos_embed_spatial", "pos_embed_temporal")
_PVT_STAGE: Final = re.compile(r"(?:encoder\.)?(patch_embeddings\.(\d+))\.position_embeddings")
_TWINS_STAGE: Final = re.compile(r"pos_embeds\.(\d+)")
_EMBEDDER: Final = re.compile(r"((sm|lg)_image_embedder)\.pos_embedding")
_DETECTION: Final = ("embeddings.detection_tokens", "det_token")
_MIDDLE: Final = ("encoder.mid_position_embeddings", "mid_position_embeddings", "mid_pos_embed")


@answered_once
def find_groups(trunk: Trunk) -> tuple[Group, ...]:
    """Return every table of a checkpoint, those of one embedding together; reads shapes only.

    Raises:
        AmbiguousCheckpoint: there is one table a block, and some are missing or of another shape.
    """
    return tuple(group for find in _FINDERS for group in find(trunk) if group)


def find_tables(trunk: Trunk) -> Group:
    """Return the first group that lies on a grid: the one table at the input, or one a block."""
    groups = find_groups(trunk)
    return next((group for group in groups if group[0].arrangement not in ("x", "y")), ())


def _at_the_input(trunk: Trunk) -> list[Group]:
    """Find the one table, or Hiera's two: one over the image, and one for every window of it.

    Source of the two: arXiv:2311.05613.
    """
    names = trunk.names
    candidates = _UNNAMED + _ONE if len(trunk) == 1 else _ONE
    if trunk.is_text_tower and trunk.hints.tower != "text":
        return []
    tables = (table_of(trunk, names[name]) for name in candidates if name in names)
    one = next((table for table in tables if table is not None), None)
    window = _shaped(trunk, _WINDOW, 4)
    if one is None or window is None:
        return [(_without_detection_tokens(trunk, one),)] if one is not None else []
    key, whole = trunk.stored_key(window), _nchw(trunk, one.key) or one
    return [
        (replace(whole, part="global", notes=(f"resized, and {key} is added to it in tiles",)),),
        (replace(channels_first(window, trunk.shape(window)), part="window"),),
    ]


def _shaped(trunk: Trunk, candidates: tuple[str, ...], axes: int) -> str | None:
    """Return the checkpoint's name of the first candidate with so many axes, none of them empty."""
    names = trunk.names
    keys = (names[name] for name in candidates if name in names)
    return next((k for k in keys if _has_axes(trunk.shape(k), axes)), None)


def _has_axes(shape: tuple[int, ...], axes: int) -> bool:
    return len(shape) == axes and 0 not in shape


def _nchw(trunk: Trunk, key: str) -> StoredTable | None:
    shape = trunk.shape(key)
    return channels_first(key, shape) if _has_axes(shape, 4) else None


def _numbered(trunk: Trunk) -> list[Group]:
    """Find `pos_embed0`, `pos_embed1`, …: LaPE's, one a block, or one a stage of a pyramid."""
    numbered = sorted((int(each.groups[1]), each.key) for each in trunk.matching(_NUMBERED))
    tables = {i: t for i, key in numbered if (t := table_of(trunk, key)) is not None}
    if not tables:
        return []
    if any(len(table.shape) == 4 for table in tables.values()):
        return [_stage(i, _nchw(trunk, t.key)) for i, t in tables.items()]
    if len({table.embed_dim for table in tables.values()}) > 1 and min(tables) == 1:
        return [_stage(i, table) for i, table in tables.items()]
    return [_per_block([replace(table, block=i) for i, table in tables.items()])]


def _stage(number: int, table: StoredTable | None) -> Group:
    return (replace(table, layer=f"stage{number}"),) if table is not None else ()


def _per_block(tables: list[StoredTable]) -> Group:
    blocks = [table.block or 0 for table in tables]
    missing = sorted(set(range(blocks[-1])) - set(blocks))
    if missing:
        raise AmbiguousCheckpoint(
            f"{tables[0].key} … {tables[-1].key} are one table a block, and "
            f"{', '.join(f'pos_embed{i}' for i in missing)} is missing. "
            "The file is not whole: no block's table can be told from its neighbour's."
        )
    return _of_one_shape(tables)


def _of_one_shape(tables: list[StoredTable]) -> Group:
    odd = next(
        (t for t in tables if (t.rows, t.embed_dim) != (tables[0].rows, tables[0].embed_dim)), None
    )
    if odd is not None:
        raise AmbiguousCheckpoint(
            f"{tables[0].key} has shape {tables[0].shape}, {odd.key} has {odd.shape}; "
            "one table a block must have one shape."
        )
    return tuple(tables)


def _of_levels(trunk: Trunk) -> list[Group]:
    """Find NesT's (1, blocks, tokens, D), one a level. Source: arXiv:2105.12723."""
    found = list[Group]()
    for each in trunk.matching(_LEVEL):
        shape = trunk.shape(each.key)
        if not _has_axes(shape, 4):
            continue
        side = isqrt(shape[1]) * isqrt(shape[2])
        if side * side != shape[1] * shape[2]:
            continue
        layer, grid = each.groups[1], (side, side)
        table = StoredTable(each.key, shape, side * side, shape[3], grid, "blocks", layer=layer)
        note = f"{shape[1]} blocks of {shape[2]} tokens were put back into row-major order"
        found.append((replace(table, notes=(note,)),))
    return found


def _of_branches(trunk: Trunk) -> list[Group]:
    """Find CrossViT's `pos_embed_0`, `pos_embed_1`, one a branch. Source: arXiv:2103.14899."""
    found = list[Group]()
    for each in trunk.matching(_BRANCH):
        if (table := table_of(trunk, each.key)) is None:
            continue
        number = each.groups[1]
        token = trunk.names.get(f"cls_token_{number}")
        tokens = PrefixTokens(trunk.shape(token)[-2] if token else 0, covered=True)
        found.append((replace(table, part=f"branch{number}", tokens=tokens),))
    return found


def _of_pixels(trunk: Trunk) -> list[Group]:
    """Find TNT's table of the pixels of a patch, (1, D, h, w). Source: arXiv:2103.00112."""
    key = _shaped(trunk, _INNER, 4)
    if key is None:
        return []
    return [(replace(channels_first(key, trunk.shape(key)), part="pixel"),)]


def _of_pools(trunk: Trunk) -> list[Group]:
    """Find the table of CLIP's attention pool, whose first row is the mean token's."""
    key = _shaped(trunk, _POOLS, 2)
    table = table_of(trunk, key) if key else None
    if table is None:
        return []
    note = "the first row is that of the mean of the patches, which asks for all of them"
    layer = "head" if table.key.endswith("head.pos_embed") else "attnpool"
    return [(replace(table, layer=layer, tokens=PrefixTokens(1, covered=True), notes=(note,)),)]


def _of_axes(trunk: Trunk) -> list[Group]:
    """Find tables of rows and of columns that are added to each other, as in NaFlexViT."""
    names = trunk.names
    for y, x_ in _AXES:
        if y in names and x_ in names:
            down, across = (table_of(trunk, names[name]) for name in (y, x_))
            return [(_summed(down, across),)] if down and across else []
    return []


def _summed(down: StoredTable, across: StoredTable) -> StoredTable:
    grid = (down.rows, across.rows)
    note = f"grid {x(grid)}: {grid[0]} rows and {grid[1]} columns, factorised and added here"
    return StoredTable(
        down.key, down.shape, grid[0] * grid[1], down.embed_dim, grid, "axes", across.key,
        notes=(note,),
    )  # fmt: skip


def _of_both_axes(trunk: Trunk) -> list[Group]:
    """Find Gemma's (2, positions, D): x, then y, on no grid of its own, or on the one said."""
    key = _shaped(trunk, _BOTH_AXES, 3)
    shape = trunk.shape(key) if key else ()
    if key is None or shape[0] != 2:
        return []
    grid = trunk.hints.grid_size or image_grid(trunk)
    if grid is not None and max(grid) <= shape[1]:
        held = f"{trunk.stored_key(key)} holds {shape[1]} positions of each axis"
        note = f"grid {x(grid)} as was said; {held}"
        return [
            (StoredTable(key, shape, grid[0] * grid[1], shape[2], grid, "axes", notes=(note,)),)
        ]
    note = f"{shape[1]} positions of each axis, factorised: --grid-size HxW adds them on a grid"
    whole = StoredTable(key, shape, shape[1], shape[2], notes=(note,))
    return [
        (replace(whole, grid_size=(shape[1], 1), arrangement="y", part="y"),),
        (replace(whole, grid_size=(1, shape[1]), arrangement="x", part="x"),),
    ]


def _of_space_and_time(trunk: Trunk) -> list[Group]:
    """Find the two tables of a video Hiera: one over the image, and one over time."""
    names = trunk.names
    keys = [names[name] for name in _SPACE_TIME if name in names]
    tables = [table_of(trunk, key) for key in keys]
    if len(tables) < 2 or tables[0] is None or tables[1] is None:
        return []
    steps = tables[1].rows
    return [
        (replace(tables[0], part="spatial", tokens=PrefixTokens()),),
        (replace(tables[1], part="temporal", grid_size=(steps, 1)),),
    ]


def _of_pyramid(trunk: Trunk) -> list[tuple[StoredTable, ...]]:
    """Find the tables of transformers' PVT, one a stage; the last stage has a class token."""
    found = dict[int, StoredTable]()
    for each in trunk.matching(_PVT_STAGE):
        if (table := table_of(trunk, each.key)) is None:
            continue
        token, stage = f"{each.bare.removesuffix('position_embeddings')}cls_token", each.groups[2]
        tokens = PrefixTokens(int(token in trunk.names))
        found[int(stage)] = replace(table, layer=f"stage{stage}", tokens=tokens)
    return [(found[stage],) for stage in sorted(found)]


def _of_pyramid_base(trunk: Trunk) -> list[tuple[StoredTable, ...]]:
    """Find the tables of PVT's base class in Twins; the last one has a row for its class token."""
    found = dict[int, StoredTable]()
    for each in trunk.matching(_TWINS_STAGE):
        if (table := table_of(trunk, each.key)) is not None:
            stage = each.groups[1]
            found[int(stage)] = replace(table, layer=f"stage{stage}", tokens=PrefixTokens())
    if found and "cls_token" in trunk.names:
        last = max(found)
        found[last] = replace(found[last], tokens=PrefixTokens(1))
    return [(found[stage],) for stage in sorted(found)]


def _of_image_embedders(trunk: Trunk) -> list[tuple[StoredTable, ...]]:
    """Find the two tables of lucidrains' CrossViT: of small patches, and of large ones."""
    found = list[tuple[StoredTable, ...]]()
    for each in trunk.matching(_EMBEDDER):
        if (table := table_of(trunk, each.key)) is not None:
            tokens = PrefixTokens(int(f"{each.groups[1]}.cls_token" in trunk.names))
            part = {"sm": "small", "lg": "large"}[each.groups[2]]
            found.append((replace(table, part=part, tokens=tokens),))
    return found


def _without_detection_tokens(trunk: Trunk, table: StoredTable) -> StoredTable:
    """Leave out the rows of YOLOS's detection tokens, which lie behind those of the patches."""
    names = trunk.names
    token = next((names[name] for name in _DETECTION if name in names), None)
    count = trunk.shape(token)[-2] if token else 0
    if not count or count >= table.rows:
        return table
    note = f"the last {count} rows stand for detection tokens, and were left out"
    return replace(table, rows=table.rows - count, trailing=count, notes=(*table.notes, note))


def _of_detector_blocks(trunk: Trunk) -> list[tuple[StoredTable, ...]]:
    """Find YOLOS's tables between blocks, (blocks - 1, 1, rows, D): block 1 has the first."""
    names = trunk.names
    key = next((names[name] for name in _MIDDLE if name in names), None)
    shape = trunk.shape(key) if key else ()
    if key is None or len(shape) != 4 or shape[1] != 1 or 0 in shape:
        return []
    whole = StoredTable(key, shape, shape[2], shape[3], arrangement="stack")
    one = _without_detection_tokens(trunk, whole)
    return [tuple(replace(one, block=block + 1) for block in range(shape[0]))]


_FINDERS: Final[tuple[Callable[[Trunk], list[Group]], ...]] = (
    _at_the_input,
    _of_pixels,
    _numbered,
    _of_levels,
    _of_branches,
    _of_axes,
    _of_both_axes,
    _of_space_and_time,
    _of_pools,
    _of_pyramid,
    _of_pyramid_base,
    _of_image_embedders,
    _of_detector_blocks,
)
