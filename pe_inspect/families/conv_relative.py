"""Relative position as a convolution of the values: q ⊙ DWConv(v), shared by a stage's blocks.

The kernel holds a vector for each offset of a key from the query, and none beyond its reach.

Source: arXiv:2104.06399 (CoaT), Eq. 7.
"""

from __future__ import annotations

import re
from typing import Final

from pe_inspect.families import Family, families
from pe_inspect.families.reading.tables import nonfinite_note
from pe_inspect.families.reading.tensors import is_depthwise
from pe_inspect.families.trunk import Trunk
from pe_inspect.kinds.parts import FamilyFacts
from pe_inspect.kinds.position_embedding import LayerPE, PositionEmbedding, Relation

__all__ = ["detect", "extract"]

NAME: Final = "conv_relative"

_KERNEL: Final = re.compile(
    r"(?:crpe(?P<stage>\d+)"
    r"|serial_blocks(?P<serial>\d+)\.\d+\.factoratt_crpe\.crpe"
    r"|parallel_blocks\.\d+\.factoratt_crpe(?P<parallel>\d+)\.crpe"
    r")\.conv_list\.(?P<number>\d+)\.weight"
)


def detect(trunk: Trunk) -> bool:
    """Whether the checkpoint holds CoaT's convolutions."""
    return bool(_kernels(trunk))


def extract(trunk: Trunk) -> tuple[PositionEmbedding, ...]:
    """Read the kernels of every stage, one part for each size, (k·k offsets, channels)."""
    kernels = _kernels(trunk)
    if not kernels:
        return ()
    from pe_inspect.families.reading.embedding import scheme
    from pe_inspect.families.reading.kernels import by_offset
    from pe_inspect.families.reading.named_model import stated_grid

    layers, notes = [], ["one set of kernels a stage, shared by its blocks, counted once"]
    for (stage, _), (bare, key) in kernels.items():
        kernel = trunk.float32(key)
        grid, note = stated_grid(trunk, bare.removesuffix(".weight"))
        side = kernel.shape[-1]
        part = f"{side}x{side}.yx"
        layers.append(LayerPE(f"crpe{stage}", by_offset(kernel), grid, part=part))
        notes += (f"shown {note}", *nonfinite_note(trunk.stored_key(key), kernel))
    weights = [key for _, key in kernels.values()]
    biases = [f"{key.removesuffix('weight')}bias" for key in weights]
    keys = [key for pair in zip(weights, biases) for key in pair if key in trunk]
    relation = Relation(beyond="none")
    return (scheme(trunk, NAME, "relative", layers, keys, notes, relation=relation),)


def _kernels(trunk: Trunk) -> dict[tuple[int, int], tuple[str, str]]:
    """Return (stage, number) → (bare name, key); of the names of one tensor, the first."""
    found: dict[tuple[int, int], tuple[str, str]] = {}
    for each in trunk.matching(_KERNEL):
        if is_depthwise(trunk.shape(each.key)):
            match = each.groups
            stage = match["stage"] or match["serial"] or match["parallel"]
            found.setdefault((int(stage), int(match["number"])), (each.bare, each.key))
    return dict(sorted(found.items()))


families.register(NAME)(
    Family(
        name=NAME,
        looks_for="`crpe#.conv_list.#.weight` (channels × 1 × k × k), and the same tensors again "
        "under the blocks that share them",
        example="CoaT (timm's coat_tiny, coat_lite_tiny)",
        detect=detect,
        extract=extract,
        facts=FamilyFacts(
            needs_no_change="its convolution reaches as many patches on any grid",
            sentence="Relative position as a convolution of the values",
            serves_any_grid=True,
        ),
    )
)
