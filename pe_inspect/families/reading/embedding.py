"""What every scheme inside the blocks needs: where its tensors lie, and the container around it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from pe_inspect.families.reading.names import block_of, in_order
from pe_inspect.families.trunk import Trunk
from pe_inspect.kinds.position_embedding import Join, Kind, LayerPE, PositionEmbedding, Relation

__all__ = ["Place", "is_depthwise", "num_prefix_tokens", "places", "scheme"]

_AXES: Final = 4  # (channels, 1, rows, columns)


@dataclass(frozen=True)
class Place:
    """Where one module of a scheme lies.

    Attributes:
        layer: timm's name of the block or stage, e.g. `"blocks.3"`.
        module: the rest of the module's path, e.g. `"attn_grid"`; empty where there is none.
        path: the module's path in the checkpoint, without wrappers.
        stem: the checkpoint's key up to the parameter that was matched.
        match: what the pattern found.
    """

    layer: str
    module: str
    path: str
    stem: str
    match: re.Match[str]


def places(trunk: Trunk, pattern: re.Pattern[str]) -> list[Place]:
    """Return where `(?P<at>…)` of a pattern lies, for every bare name that it matches, in order.

    Args:
        trunk: whose names are searched.
        pattern: of whole bare names; its group `at` is the path of the block or stage.
    """
    found = []
    for each in trunk.matching(pattern):
        key, bare, match = each.key, each.bare, each.groups
        layer, module = _split(match["at"])
        stem = key[: len(key) - len(bare) + match.end("at")]
        found.append(Place(layer, module, match["at"], stem, match))
    return sorted(found, key=lambda place: (_rank(place.layer), place.module))


def _split(path: str) -> tuple[str, str]:
    """Return timm's name of the block and the rest; a path outside the blocks is its own name."""
    if block := block_of(f"{path}."):
        return block[0], block[1].rstrip(".")
    if block := block_of(f"{path}.attn."):  # torchvision numbers whatever it has no name for
        return block[0], ""
    return path, ""


def _rank(layer: str) -> tuple[str, tuple[int, ...]]:
    return re.sub(r"\d+.*", "", layer), in_order(layer)


def is_depthwise(shape: tuple[int, ...], axes: int = _AXES) -> bool:
    """Whether a weight is a kernel a channel with a middle: (channels, 1, k, k), k odd.

    Args:
        shape: of the weight.
        axes: how many it has; a 3-D convolution has one more.
    """
    return len(shape) == axes and shape[1] == 1 and all(side % 2 for side in shape[2:4])


def num_prefix_tokens(trunk: Trunk) -> int:
    """Return the model's prefix tokens: as said, else as many as the file holds."""
    said = trunk.hints.num_prefix_tokens
    return trunk.prefix_tokens.total if said is None else said


def scheme(
    trunk: Trunk,
    family: str,
    kind: Kind,
    layers: Iterable[LayerPE],
    keys: Iterable[str],
    notes: Iterable[str] = (),
    *,
    join: Join = "layer",
    stored: bool = True,
    relation: Relation | None = None,
) -> PositionEmbedding:
    """Return the embedding of a scheme that acts inside the blocks.

    Args:
        trunk: where it comes from; norms, depth and prefix tokens are its own.
        family: the scheme's name.
        kind: see `PositionEmbedding`.
        layers: the tables, in block order.
        keys: the checkpoint's names of the learned tensors that were used.
        notes: what was inferred.
        join: how it enters.
        stored: false where the file holds none of it.
        relation: how the tables of kind `relative` make the vector of a pair.
    """
    norms, keys = trunk.norms, tuple(keys)
    said = (*dict.fromkeys(notes), *norms.notes, *trunk.missing_blocks)
    return PositionEmbedding(
        family=family,
        kind=kind,
        join=join,
        tables=tuple(layers),
        norms=norms.params,
        notes=said,
        keys=tuple(map(trunk.stored_key, keys)),
        num_prefix_tokens=num_prefix_tokens(trunk),
        depth=trunk.depth,
        num_parameters=sum(trunk.size(key) for key in keys),
        stored=stored,
        patch_size=trunk.patch_size,
        relation=relation or Relation(),
    )
