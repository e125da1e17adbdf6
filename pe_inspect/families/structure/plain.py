"""Whether a file whose every name is known leaves anything to find by structure."""

from __future__ import annotations

from math import prod

from pe_inspect.families.structure.grids import Evidence, decide
from pe_inspect.families.structure.towers import ExtraTokens
from pe_inspect.families.trunk import Trunk
from pe_inspect.kinds.position_embedding import PositionEmbedding

__all__ = ["speaks_for"]


def speaks_for(trunk: Trunk, pe: PositionEmbedding) -> bool:
    """Whether the rows of `pos_embed` and its values give the grid that names gave.

    Args:
        trunk: of a file in which every tensor has a name of timm's plain ViT.
        pe: what the names tell.
    """
    key = trunk.names.get("pos_embed")
    if key is None or trunk.patch_kernel is None or not pe.scheme_kind.has_token_rows:
        return False
    shape = trunk.shape(key)
    rows = prod(shape[:-1])
    if shape[-2:] != (rows, pe.embed_dim):
        return False  # another layout: its shape tells the grid
    found = trunk.prefix_tokens
    tokens = ExtraTokens(cls=found.cls, dist=found.distillation, reg=found.registers)
    evidence = Evidence(
        tokens,
        prefix=trunk.hints.num_prefix_tokens,
        is_flat=True,
        values=lambda: trunk.float32(key).reshape(rows, -1),
    )
    reading, _ = decide(rows, evidence)
    own = (pe.grid_size, pe.num_prefix_rows)
    return reading is not None and (reading.grid, reading.prefix) == own
