"""What structure alone tells of a checkpoint: towers, their norms, and tables."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from pe_inspect.families.reading.norms import epsilon
from pe_inspect.families.reading.tensors import NamedTensors
from pe_inspect.families.structure.blocks import FoundBlock, is_norm
from pe_inspect.families.structure.names import NamedTensor, named_tensors, wildcard
from pe_inspect.families.structure.tables import TableCandidate, find_tables
from pe_inspect.families.structure.towers import Survey, Tower, survey
from pe_inspect.kinds.position_embedding import LayerNormParams
from pe_inspect.loading.checkpoint import Hints

__all__ = ["FoundNorm", "Structure", "layer_names", "norms_of"]


@dataclass(frozen=True, eq=False)
class Structure:
    """What structure tells of a checkpoint; each part is found out when it is first asked for.

    Attributes:
        trunk: reads the tensors, each at most once.
    """

    trunk: NamedTensors
    _names: dict[str, Mapping[str, str]] = field(default_factory=dict, init=False, repr=False)
    _norms: dict[str, tuple[LayerNormParams, ...]] = field(
        default_factory=dict, init=False, repr=False
    )

    @property
    def hints(self) -> Hints:
        """What flags, a config.json or the file say."""
        return self.trunk.hints

    @cached_property
    def seen(self) -> Survey:
        """The tensors, lists of blocks, towers and kernels."""
        return survey(named_tensors(self.trunk.checkpoint))

    @cached_property
    def tables(self) -> tuple[TableCandidate, ...]:
        """Tables that may be added to tokens."""
        return find_tables(self.seen)

    @cached_property
    def main_tower(self) -> Tower | None:
        """The tower that the first table feeds; else the longest of the vision side."""
        fed = next((table.tower for table in self.tables if table.tower), None)
        own = [t for t in self.seen.towers if not self.seen.is_text(t.prefix) and t.attends]
        return fed or max(own, key=lambda tower: tower.depth, default=None)

    def tower_near(self, path: str) -> Tower | None:
        """The tower of another width that a table most likely feeds, behind a projection."""
        attending = [t for t in self.seen.towers if t.attends]
        widths = frozenset().union(*(t.widths for t in attending))
        return self.seen.tower_of(path, widths)

    def stored(self, paths: Iterable[str]) -> tuple[str, ...]:
        """The file's names of paths."""
        return tuple(self.trunk.stored_key(self.seen.tensors[p].key) for p in paths)

    def layers(self, tower: Tower | None) -> Mapping[str, str]:
        """Path of a block → timm's name of it."""
        if tower is None:
            return {}
        if tower.prefix not in self._names:
            self._names[tower.prefix] = layer_names(tower)
        return self._names[tower.prefix]

    def norms(self, tower: Tower | None) -> tuple[LayerNormParams, ...]:
        """The norms of a tower, read once."""
        if tower is None:
            return ()
        if tower.prefix not in self._norms:
            eps = epsilon(self.trunk)[0]
            read = tuple(self._read(norm, eps) for norm in norms_of(self.seen, tower))
            self._norms[tower.prefix] = read
        return self._norms[tower.prefix]

    def _read(self, norm: FoundNorm, eps: float) -> LayerNormParams:
        weight, bias = norm.weight, norm.bias
        values = [self._values(t) for t in (weight, bias) if t is not None]
        return LayerNormParams(norm.layer, norm.name, values[0], (*values, None)[1], eps)

    def _values(self, named: NamedTensor) -> Any:
        is_flat = len(named.shape) == 1
        return self.trunk.unread(named.key) if is_flat else self.trunk.float32(named.key).ravel()

    @property
    def norm_notes(self) -> tuple[str, ...]:
        """Where the eps of the norms comes from."""
        return (epsilon(self.trunk)[1],)


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
    for inner, weight in block.norms.items():
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
