"""Relative vectors by joint offset, which lambda layers multiply values and queries with.

Either a table for all offsets of a grid, or the kernel of a convolution that reaches a few.

Source: arXiv:2102.08602 (LambdaNetworks), section 3.1.
"""

from __future__ import annotations

import re
from typing import Final

from pe_inspect.families import Family, families
from pe_inspect.families.reading.tables import nonfinite_note
from pe_inspect.families.reading.tensors import Place, is_depthwise
from pe_inspect.families.trunk import Trunk
from pe_inspect.kinds.parts import FamilyFacts
from pe_inspect.kinds.position_embedding import LayerPE, PositionEmbedding, Relation

__all__ = ["detect", "extract"]

NAME: Final = "lambda_relative"

_TABLE: Final = re.compile(r"(?P<at>.+)\.self_attn\.pos_emb")
_KERNEL: Final = re.compile(r"(?P<at>.+)\.self_attn\.conv_lambda\.weight")
_JOINT: Final = "yx"


def detect(trunk: Trunk) -> bool:
    """Whether the checkpoint holds a lambda layer's table or kernel."""
    return bool(_find(trunk))


def extract(trunk: Trunk) -> tuple[PositionEmbedding, ...]:
    """Read one table a layer, (offsets, channels), of both axes together."""
    found = _find(trunk)
    if not found:
        return ()
    from pe_inspect.families.reading.embedding import scheme

    layers, notes = list[LayerPE](), list[str]()
    for place, key in found:
        table, note = _table(trunk, place, key)
        layers.append(table)
        notes += (note, *nonfinite_note(trunk.stored_key(key), table.values))
    keys = [key for _, key in found]
    biases = [f"{key.removesuffix('weight')}bias" for key in keys if key.endswith(".weight")]
    keys += [key for key in biases if key in trunk]
    relation = Relation(beyond="none")
    return (scheme(trunk, NAME, "relative", layers, keys, notes, relation=relation),)


def _find(trunk: Trunk) -> list[tuple[Place, str]]:
    found = []
    for pattern in (_TABLE, _KERNEL):
        for place in trunk.places(pattern):
            key = f"{place.stem}{place.match.string[place.match.end('at') :]}"
            if _is_position(trunk.shape(key)):
                found.append((place, key))
    return found


def _is_position(shape: tuple[int, ...]) -> bool:
    is_table = len(shape) == 3 and shape[2] > 0 and shape[0] % 2 == 1 and shape[1] % 2 == 1
    return is_table or is_depthwise(shape, axes=5)


def _table(trunk: Trunk, place: Place, key: str) -> tuple[LayerPE, str]:
    values = trunk.float32(key)
    if values.ndim == 3:
        grid = ((values.shape[0] + 1) // 2, (values.shape[1] + 1) // 2)
        rows = values.reshape(-1, values.shape[-1])
        return LayerPE(place.layer, rows, grid, part=_JOINT), "grids read from the tables"
    from pe_inspect.families.reading.kernels import by_offset
    from pe_inspect.families.reading.named_model import stated_grid

    grid, note = stated_grid(trunk, f"{place.path}.self_attn.qkv")
    kernel = by_offset(values)
    return LayerPE(place.layer, kernel, grid, part=_JOINT), f"kernels are shown {note}"


families.register(NAME)(
    Family(
        name=NAME,
        looks_for="`self_attn.pos_emb` (2H−1 × 2W−1 × channels) or `self_attn.conv_lambda.weight` "
        "(channels × 1 × r × r × 1)",
        example="LambdaNetworks (timm's lambda_resnet26rpt_256, lambda_resnet26t)",
        detect=detect,
        extract=extract,
        facts=FamilyFacts(
            sentence="Learned vectors by the offset of two positions, in lambda layers",
        ),
    )
)
