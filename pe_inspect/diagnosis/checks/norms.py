"""Norms that are missing, that pass nothing, or that were never trained."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from typing import Final

import numpy as np

from pe_inspect.diagnosis.checks import on_embedding
from pe_inspect.diagnosis.fields import command, listed
from pe_inspect.finding import Finding
from pe_inspect.kinds.position_embedding import LayerNormParams, PositionEmbedding

__all__ = ["dead_norms", "missing_norms", "untrained_norms"]

# Trained norms have channels near zero (ViT's first norm1 has many); none has half of them so near.
DEAD: Final = 1e-6
DEAD_PART: Final = 0.5
_PLAIN_BLOCK: Final = re.compile(r"blocks\.\d+")
_PLAIN_NORMS: Final = ("norm1", "norm2")


@on_embedding("dead-norm")
def dead_norms(pe: PositionEmbedding) -> Iterator[Finding]:
    """Norms of which at least half of the channels have a weight of zero."""
    parts = {norm.path: float(np.mean(np.abs(norm.weight) < DEAD)) for norm in pe.norms}
    dead = {path: part for path, part in parts.items() if part >= DEAD_PART}
    if not dead:
        return
    names, worst = list(dead), max(dead.values())
    yield Finding(
        "dead-norm",
        listed(names),
        f"γ is zero (under {DEAD:g}) in {100 * worst:.0f} % of the channels of {listed(names)}.",
        "What a norm multiplies by zero does not reach its layer; of a position norm, the "
        "position.",
        f"{command(pe, 'layernorm')} shows γ of every norm. Keep norms out of weight decay, and "
        "check that the key was loaded.",
        {"fraction_dead": dead, "near_zero": DEAD, "threshold": DEAD_PART},
        "error" if worst == 1.0 else "warning",
    )


@on_embedding("untrained-norm")
def untrained_norms(pe: PositionEmbedding) -> Iterator[Finding]:
    """Norms that are exactly at their initial values: γ = 1 and β = 0 everywhere."""
    fresh = [norm.path for norm in pe.norms if _is_fresh(norm)]
    if not fresh:
        return
    whole = len(fresh) == len(pe.norms)
    yield Finding(
        "untrained-norm",
        listed(fresh),
        f"{len(fresh)} of {len(pe.norms)} norms are exactly γ = 1, β = 0: {listed(fresh)}.",
        "The model was never trained: this is how norms are initialised."
        if whole
        else "The other norms were trained. These were added or re-initialised (a name that did "
        "not match leaves them so), or no gradient reached them: a bias between patches in the "
        "last block of a model that reads its class token alone.",
        f"Compare the names with those of the model: {command(pe, 'info --json')} lists the norms "
        "of the file.",
        {"untrained": fresh, "norms": len(pe.norms)},
    )


def _is_fresh(norm: LayerNormParams) -> bool:
    return bool((norm.weight == 1).all()) and (norm.bias is None or not norm.bias.any())


@on_embedding("missing-norm")
def missing_norms(pe: PositionEmbedding) -> Iterator[Finding]:
    """Blocks without the norm1 or norm2 that most blocks have."""
    have: dict[str, set[str]] = defaultdict(set)
    for norm in pe.norms:
        if _PLAIN_BLOCK.fullmatch(norm.layer):
            have[norm.layer].add(norm.name)
    blocks = [f"blocks.{i}" for i in range(pe.depth)] if have else []
    missing = [
        f"{block}.{name}"
        for name in _PLAIN_NORMS
        if 2 * sum(name in names for names in have.values()) > len(blocks)
        for block in blocks
        if name not in have.get(block, set())
    ]
    if missing:
        yield _missing(pe, missing)


def _missing(pe: PositionEmbedding, missing: list[str]) -> Finding:
    return Finding(
        "missing-norm",
        listed(missing),
        f"Not in the file, though most of the {pe.depth} blocks have theirs: {listed(missing)}.",
        "A model that loads this file without `strict` keeps their initial values, and gives other "
        "answers than the one that was saved.",
        "Save the state dict again, whole; or find the prefix under which they went astray: "
        f"{command(pe, 'info')}.",
        {"missing": missing, "depth": pe.depth},
        "error",
    )
