"""Tables of vectors that one library keeps in a way of its own.

Sources: arXiv:2102.12122 (PVT), arXiv:2106.00666 (YOLOS), arXiv:2103.14899 (CrossViT, as
lucidrains' vit-pytorch names it).
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Final

from pe_inspect.families.reading.prefix import PrefixTokens
from pe_inspect.families.reading.table import StoredTable, table_of
from pe_inspect.families.trunk import Trunk

__all__ = [
    "of_detector_blocks",
    "of_image_embedders",
    "of_pyramid",
    "of_pyramid_base",
    "without_detection_tokens",
]

_STAGE: Final = re.compile(r"(?:encoder\.)?(patch_embeddings\.(\d+))\.position_embeddings")
_BASE_STAGE: Final = re.compile(r"pos_embeds\.(\d+)")
_EMBEDDER: Final = re.compile(r"((sm|lg)_image_embedder)\.pos_embedding")
_DETECTION: Final = ("embeddings.detection_tokens", "det_token")
_MIDDLE: Final = ("encoder.mid_position_embeddings", "mid_position_embeddings", "mid_pos_embed")


def of_pyramid(trunk: Trunk) -> list[tuple[StoredTable, ...]]:
    """Find the tables of transformers' PVT, one a stage; the last stage has a class token."""
    found = dict[int, StoredTable]()
    for each in trunk.matching(_STAGE):
        if (table := table_of(trunk, each.key)) is None:
            continue
        token, stage = f"{each.bare.removesuffix('position_embeddings')}cls_token", each.groups[2]
        tokens = PrefixTokens(int(token in trunk.names))
        found[int(stage)] = replace(table, layer=f"stage{stage}", tokens=tokens)
    return [(found[stage],) for stage in sorted(found)]


def of_pyramid_base(trunk: Trunk) -> list[tuple[StoredTable, ...]]:
    """Find the tables of PVT's base class in Twins; the last one has a row for its class token."""
    found = dict[int, StoredTable]()
    for each in trunk.matching(_BASE_STAGE):
        if (table := table_of(trunk, each.key)) is not None:
            stage = each.groups[1]
            found[int(stage)] = replace(table, layer=f"stage{stage}", tokens=PrefixTokens())
    if found and "cls_token" in trunk.names:
        last = max(found)
        found[last] = replace(found[last], tokens=PrefixTokens(1))
    return [(found[stage],) for stage in sorted(found)]


def of_image_embedders(trunk: Trunk) -> list[tuple[StoredTable, ...]]:
    """Find the two tables of lucidrains' CrossViT: of small patches, and of large ones."""
    found = list[tuple[StoredTable, ...]]()
    for each in trunk.matching(_EMBEDDER):
        if (table := table_of(trunk, each.key)) is not None:
            tokens = PrefixTokens(int(f"{each.groups[1]}.cls_token" in trunk.names))
            part = {"sm": "small", "lg": "large"}[each.groups[2]]
            found.append((replace(table, part=part, tokens=tokens),))
    return found


def without_detection_tokens(trunk: Trunk, table: StoredTable) -> StoredTable:
    """Leave out the rows of YOLOS's detection tokens, which lie behind those of the patches."""
    names = trunk.names
    token = next((names[name] for name in _DETECTION if name in names), None)
    count = trunk.shape(token)[-2] if token else 0
    if not count or count >= table.rows:
        return table
    note = f"the last {count} rows stand for detection tokens, and were left out"
    return replace(table, rows=table.rows - count, trailing=count, notes=(*table.notes, note))


def of_detector_blocks(trunk: Trunk) -> list[tuple[StoredTable, ...]]:
    """Find YOLOS's tables between blocks, (blocks - 1, 1, rows, D): block 1 has the first."""
    names = trunk.names
    key = next((names[name] for name in _MIDDLE if name in names), None)
    shape = trunk.shape(key) if key else ()
    if key is None or len(shape) != 4 or shape[1] != 1 or 0 in shape:
        return []
    whole = StoredTable(key, shape, shape[2], shape[3], arrangement="stack")
    one = without_detection_tokens(trunk, whole)
    return [tuple(replace(one, block=block + 1) for block in range(shape[0]))]
