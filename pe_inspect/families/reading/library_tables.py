"""Tables of vectors that one library keeps in a way of its own.

Sources: arXiv:2102.12122 (PVT), arXiv:2106.00666 (YOLOS), arXiv:2103.14899 (CrossViT, as
lucidrains' vit-pytorch names it).
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Final

from pe_inspect.families.reading.grid import PrefixTokens
from pe_inspect.families.reading.names import trunk
from pe_inspect.families.reading.table import Table, table_of
from pe_inspect.loading.checkpoint import Checkpoint

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


def of_pyramid(checkpoint: Checkpoint) -> list[tuple[Table, ...]]:
    """Find the tables of transformers' PVT, one a stage; the last stage has a class token."""
    names, found = trunk(checkpoint), dict[int, Table]()
    for bare, key in names.items():
        table = table_of(checkpoint, key) if (match := _STAGE.fullmatch(bare)) else None
        if match is None or table is None:
            continue
        token = f"{bare.removesuffix('position_embeddings')}cls_token"
        tokens = PrefixTokens(int(token in names))
        found[int(match[2])] = replace(table, layer=f"stage{match[2]}", tokens=tokens)
    return [(found[stage],) for stage in sorted(found)]


def of_pyramid_base(checkpoint: Checkpoint) -> list[tuple[Table, ...]]:
    """Find the tables of PVT's base class in Twins; the last one has a row for its class token."""
    names, found = trunk(checkpoint), dict[int, Table]()
    for bare, key in names.items():
        table = table_of(checkpoint, key) if (match := _BASE_STAGE.fullmatch(bare)) else None
        if match is not None and table is not None:
            found[int(match[1])] = replace(table, layer=f"stage{match[1]}", tokens=PrefixTokens())
    if found and "cls_token" in names:
        last = max(found)
        found[last] = replace(found[last], tokens=PrefixTokens(1))
    return [(found[stage],) for stage in sorted(found)]


def of_image_embedders(checkpoint: Checkpoint) -> list[tuple[Table, ...]]:
    """Find the two tables of lucidrains' CrossViT: of small patches, and of large ones."""
    names, found = trunk(checkpoint), list[tuple[Table, ...]]()
    for bare, key in names.items():
        table = table_of(checkpoint, key) if (match := _EMBEDDER.fullmatch(bare)) else None
        if match is not None and table is not None:
            tokens = PrefixTokens(int(f"{match[1]}.cls_token" in names))
            part = {"sm": "small", "lg": "large"}[match[2]]
            found.append((replace(table, part=part, tokens=tokens),))
    return found


def without_detection_tokens(checkpoint: Checkpoint, table: Table) -> Table:
    """Leave out the rows of YOLOS's detection tokens, which lie behind those of the patches."""
    names = trunk(checkpoint)
    token = next((names[name] for name in _DETECTION if name in names), None)
    count = checkpoint.shape(token)[-2] if token else 0
    if not count or count >= table.rows:
        return table
    note = f"the last {count} rows stand for detection tokens, and were left out"
    return replace(table, rows=table.rows - count, trailing=count, notes=(*table.notes, note))


def of_detector_blocks(checkpoint: Checkpoint) -> list[tuple[Table, ...]]:
    """Find YOLOS's tables between blocks, (blocks - 1, 1, rows, D): block 1 has the first."""
    names = trunk(checkpoint)
    key = next((names[name] for name in _MIDDLE if name in names), None)
    shape = checkpoint.shape(key) if key else ()
    if key is None or len(shape) != 4 or shape[1] != 1 or 0 in shape:
        return []
    whole = Table(key, shape, shape[2], shape[3], arrangement="stack")
    one = without_detection_tokens(checkpoint, whole)
    return [tuple(replace(one, block=block + 1) for block in range(shape[0]))]
