"""The norms of one tower under timm's names, wherever and whatever the file calls them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from pe_inspect.families.structure.blocks import FoundBlock, is_norm
from pe_inspect.families.structure.names import NamedTensor, wildcard
from pe_inspect.families.structure.towers import Survey, Tower

__all__ = ["FoundNorm", "layer_names", "norms_of"]

_BIASES = ("bias", "beta", "b")


@dataclass(frozen=True)
class FoundNorm:
    """One norm: its place by timm's names, and its tensors.

    Attributes:
        layer: the block; empty outside the blocks.
        name: timm's name of it.
        weight: its scale.
        bias: its shift, where it has one.
    """

    layer: str
    name: str
    weight: NamedTensor
    bias: NamedTensor | None


def layer_names(tower: Tower) -> Mapping[str, str]:
    """Return path of a block → timm's name: `blocks.3` in one flat list, else its own path."""
    first = tower.lists[0]
    if len(tower.lists) > 1 or "#" in wildcard(first.prefix):
        return {block.path: block.path for block in tower.blocks}
    start = min(first.numbers)
    return {b.path: f"blocks.{number - start}" for number, b in zip(first.numbers, first.blocks)}


def norms_of(seen: Survey, tower: Tower) -> tuple[FoundNorm, ...]:
    """Return the norms of a tower: block by block, then those around the blocks."""
    names = layer_names(tower)
    inside = [norm for block in tower.blocks for norm in _in_block(block, names[block.path])]
    return (*inside, *_around(seen, tower))


def _in_block(block: FoundBlock, layer: str) -> Iterator[FoundNorm]:
    """The norms before attention and the rest become norm1, norm2 …; others keep their names."""
    count = 0
    for weight in block.norms:
        inner = weight.module.removeprefix(block.path).lstrip(".")
        if len(weight.squeezed) == 1 and weight.squeezed[0] == block.width and not _is_inner(inner):
            count += 1
            yield _norm(layer, f"norm{count}", weight, block.tensors, inner)
        else:
            yield _norm(layer, inner, weight, block.tensors, inner)


def _is_inner(inner: str) -> bool:
    """Whether a norm belongs to what blocks do inside: queries and keys, position, scales."""
    last = inner.rpartition(".")[2].lower()
    return any(word in last for word in ("q_norm", "k_norm", "norm_q", "norm_k", "pe_norm"))


def _norm(
    layer: str, name: str, weight: NamedTensor, around: Mapping[str, NamedTensor], inner: str
) -> FoundNorm:
    bias = next((around[f"{inner}.{b}"] for b in _BIASES if f"{inner}.{b}" in around), None)
    return FoundNorm(layer, name, weight, bias)


def _around(seen: Survey, tower: Tower) -> Iterator[FoundNorm]:
    """The tower's norms outside its blocks: before them `norm_pre`, behind them `norm`."""
    order = {path: i for i, path in enumerate(seen.tensors)}
    first = min(order[t.path] for t in tower.blocks[0].tensors.values())
    taken: set[str] = set()
    for path, named in seen.tensors.items():
        if path in seen.in_block or not is_norm(path, named, seen.tensors):
            continue
        if f"{named.module}.running_mean" in seen.tensors or len(named.shape) != 1:
            continue
        if named.shape[0] not in tower.widths or seen.tower_of(path, named.shape) is not tower:
            continue
        name = _name_around(named.module, before=order[path] < first, taken=taken)
        taken.add(name)
        yield _norm("", name, named, seen.tensors, named.module)


def _name_around(module: str, *, before: bool, taken: set[str]) -> str:
    usual = ("patch_embed.norm" if "patch" in module else "norm_pre") if before else "norm"
    return usual if usual not in taken else module
