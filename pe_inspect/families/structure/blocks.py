"""The blocks of a file: runs of numbered modules that share one set of inner names.

A run whose members hold, for the most part, runs of their own is a row of stages; what remains is
a list of blocks. A list of [attention, feed-forward] is none: its members share no names.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from typing import Final

from pe_inspect.families.structure.names import NamedTensor, wildcard

__all__ = ["BlockList", "FoundBlock", "find_blocks", "is_norm"]

_NUMBERED: Final = re.compile(r"\d+(?=\.)")
_NORM_LEAF: Final = frozenset({"weight", "scale", "gamma", "g", "alpha", "gain"})
_SAYS_NORM: Final = re.compile(r"norm|(?:^|[._])(?:ln|bn|gn)\d*(?:[._]|$)|adaln|modulation", re.I)
_ATTENTION: Final = re.compile(
    r"attn|attention|qkv|query|queries|in_proj|to_q|to_kv|(?:^|[._])(?:q|wq|w_q|q_w|msa|mha|mhsa)"
    r"(?:[._]|\d|$)|q_proj|\bproject_q|self_att",
    re.I,
)
_OF_ATTENTION: Final = re.compile(r"norm_?[qk]|[qk]_?(?:layer)?norm|[qk]_ln|added_[qk]", re.I)
_MOSTLY: Final = 0.6
_FEWEST_LISTS: Final = 2
_ONE_PAIR: Final = 2  # members of a list that is one block: attention, and a network
_ALIKE: Final = 0.5
_VERY_ALIKE: Final = 0.7


@dataclass(frozen=True)
class FoundBlock:
    """One block.

    Attributes:
        path: where it lies.
        tensors: what it holds, by their names inside it.
    """

    path: str
    tensors: Mapping[str, NamedTensor] = field(repr=False)

    @cached_property
    def norms(self) -> Mapping[str, NamedTensor]:
        """Its norms' weights by the names of their modules inside it, in the file's order."""
        found = {n: t for n, t in self.tensors.items() if is_norm(n, t, self.tensors)}
        return {name.rpartition(".")[0]: tensor for name, tensor in found.items()}

    @cached_property
    def width(self) -> int:
        """The greatest length that two of its norms have, else one; 0 where no norm has any."""
        outside = [norm for norm in self.norms.values() if not _OF_ATTENTION.search(norm.path)]
        counts = Counter(norm.squeezed[-1] for norm in outside if norm.squeezed)
        if counts:
            several = [length for length, count in counts.items() if count > 1]
            return max(several) if several else counts.most_common(1)[0][0]
        inputs = Counter(
            t.shape[1] for t in self.tensors.values() if len(t.shape) == 2 and t.leaf == "weight"
        )
        return inputs.most_common(1)[0][0] if inputs else 0

    @cached_property
    def attends(self) -> bool:
        """Whether it holds attention: by its names, or a matrix of three times the width."""
        if any(_ATTENTION.search(inner) for inner in self.tensors):
            return True
        wanted = {(3 * self.width, self.width), (self.width, 3 * self.width)}
        return any(t.shape in wanted for t in self.tensors.values())


@dataclass(frozen=True)
class BlockList:
    """Blocks in order, all of one run.

    Attributes:
        prefix: what their paths begin with, up to the number.
        blocks: in the order of their numbers.
        numbers: their numbers.
        order: where the run first appears in the file.
        is_paired: whether a block is two members of the run: attention, and a network.
    """

    prefix: str
    blocks: tuple[FoundBlock, ...]
    numbers: tuple[int, ...]
    order: int = 0
    is_paired: bool = False

    @property
    def width(self) -> int:
        """The width of the first block."""
        return self.blocks[0].width

    @cached_property
    def widths(self) -> frozenset[int]:
        """The widths of all blocks."""
        return frozenset(block.width for block in self.blocks)

    @property
    def attends(self) -> bool:
        """Whether any block holds attention."""
        return any(block.attends for block in self.blocks[:2])

    @cached_property
    def parent(self) -> str:
        """The path of the module around the list."""
        return wildcard(self.prefix.rstrip("._").rpartition(".")[0])

    @property
    def missing(self) -> tuple[int, ...]:
        """The numbers that the run leaves out."""
        present = set(self.numbers)
        return tuple(n for n in range(min(present), max(present)) if n not in present)


def is_norm(name: str, tensor: NamedTensor, around: Mapping[str, NamedTensor]) -> bool:
    """Whether a tensor is the weight of a norm: one axis, and a name or a bias that says so."""
    stem, _, leaf = name.rpartition(".")
    if leaf not in _NORM_LEAF or len(tensor.squeezed) != 1 or not tensor.is_floating:
        return False
    if _says_norm(stem) or len(tensor.shape) > 1:
        return _says_norm(stem)
    bias = around.get(f"{stem}.bias") or around.get(f"{stem}.beta") or around.get(f"{stem}.b")
    return bias is not None and bias.shape == tensor.shape


@lru_cache(maxsize=4096)
def _says_norm(name: str) -> bool:
    """Whether a name inside a block says norm."""
    return bool(_SAYS_NORM.search(name))


def find_blocks(tensors: Mapping[str, NamedTensor]) -> tuple[BlockList, ...]:
    """Return every list of blocks of a file, in the file's order."""
    lists = list(_lists(tuple(tensors.items()), ""))
    lists += _unnumbered(tensors, lists)
    return tuple(sorted(lists, key=lambda each: each.order))


def _unnumbered(
    tensors: Mapping[str, NamedTensor], lists: Sequence[BlockList]
) -> Iterator[BlockList]:
    """Yield single blocks without a number beside a list of such: the middle of a U."""
    inside = {t.path for each in lists for b in each.blocks for t in b.tensors.values()}
    parents = {each.prefix.rstrip("._").rpartition(".")[0]: each for each in lists if each.attends}
    modules: dict[str, dict[str, NamedTensor]] = defaultdict(dict)
    order: dict[str, int] = {}
    for at, (path, tensor) in enumerate(tensors.items()):
        for parent in parents if path not in inside else ():
            rest = path.removeprefix(f"{parent}." if parent else "")
            if rest == path and parent:
                continue
            name, _, inner = rest.partition(".")
            module = f"{parent}.{name}" if parent else name
            modules[module][inner] = tensor
            order.setdefault(module, at)
    for module, found in modules.items():
        beside = parents[module.rpartition(".")[0]]
        block = FoundBlock(module, found)
        alike = _overlap(set(found), set(beside.blocks[0].tensors)) >= _VERY_ALIKE
        if alike and block.width == beside.width:
            yield BlockList(module, (block,), (0,), order[module])


Item = tuple[str, NamedTensor]
Run = tuple[str, Mapping[int, Mapping[str, NamedTensor]]]


def _lists(items: Sequence[Item], prefix: str) -> Iterator[BlockList]:
    """Yield the lists of blocks among tensors whose names begin behind `prefix`."""
    if not any(_NUMBERED.search(name) for name, _ in items):
        return
    order = {named.path: i for i, (_, named) in enumerate(items)}
    taken: list[str] = []
    for stem, members in _beside_each_other(_outermost(items)):
        if any(stem.startswith(other) for other in taken):
            continue
        good = {n: m for n, m in members.items() if _is_block_like(m)}
        if not good:
            continue
        inner = _inside(good, f"{prefix}{stem}")
        if _are_stages(good, inner):
            taken.append(stem)
            yield from (found for lists in inner.values() for found in lists)
            continue
        whole = len(good) < len(members) and len(members) > _ONE_PAIR
        turns = _by_turns(members) if whole else {}
        alike = {} if turns else _alike(good)
        turns = turns or ({} if alike else _by_turns(good))
        if not alike and not turns:
            yield from (found for lists in inner.values() for found in lists)
            taken.append(stem)
            continue
        taken.append(stem)
        found = _list_of(f"{prefix}{stem}", alike or turns, order)
        paired = replace(found, numbers=tuple(range(len(turns))), is_paired=True)
        yield paired if turns else found


def _inside(
    members: Mapping[int, Mapping[str, NamedTensor]], prefix: str
) -> dict[int, list[BlockList]]:
    """Return the lists of blocks within each member; of members alike, one is looked through."""
    found: dict[int, list[BlockList]] = {}
    without: set[Hashable] = set()
    for number, member in members.items():
        alike = tuple((name, t.shape, t.dtype) for name, t in member.items())
        known = alike in without
        found[number] = [] if known else list(_lists(tuple(member.items()), f"{prefix}{number}"))
        if not found[number]:
            without.add(alike)
    return found


def _outermost(items: Sequence[Item]) -> list[Run]:
    """Return (stem, number → inner name → tensor) of every run, those nearest the root first."""
    runs: dict[str, dict[int, dict[str, NamedTensor]]] = defaultdict(lambda: defaultdict(dict))
    for name, tensor in items:
        for stem, number, inner in _numbers(name):
            runs[stem][number][inner] = tensor
    return sorted(runs.items(), key=lambda run: run[0].count("."))


def _beside_each_other(runs: Sequence[Run]) -> list[Run]:
    """Put lists that run side by side together: norms, attentions and networks of equal numbers.

    None of their members is a block, and all of one number together are.
    """
    groups: dict[tuple[str, tuple[int, ...]], list[Run]] = defaultdict(list)
    blocks: tuple[str, ...] = ()  # what lies in these is a part of a block
    for stem, members in runs:
        if stem.startswith(blocks):
            continue
        if any(map(_is_block_like, members.values())):
            blocks = (*blocks, stem)
        elif len(members) > 1:
            parent = stem.rstrip("._").rpartition(".")[0]
            groups[parent, tuple(sorted(members))].append((stem, members))
    joined = {own[0][0]: run for own in groups.values() if (run := _joined(own)) is not None}
    return [(stem, joined.pop(stem)[1] if stem in joined else members) for stem, members in runs]


def _joined(runs: Sequence[Run]) -> Run | None:
    if len(runs) < _FEWEST_LISTS:
        return None
    names = {stem: stem.rpartition(".")[0] or stem for stem, _ in runs}
    whole = {
        n: {f"{names[stem]}{inner}": t for stem, own in runs for inner, t in own[n].items()}
        for n in runs[0][1]
    }
    return (runs[0][0], whole) if all(map(_is_block_like, whole.values())) else None


def _by_turns(
    members: Mapping[int, Mapping[str, NamedTensor]],
) -> dict[int, Mapping[str, NamedTensor]]:
    """Join each two members of a list of attentions and networks by turns; else nothing."""
    numbers = sorted(members)
    turns = [[members[n] for n in numbers[start::2]] for start in (0, 1)]
    if len(numbers) % 2 or not all(_alike(dict(enumerate(turn))) for turn in turns):
        return {}
    attends = [FoundBlock("", turn[0]).attends for turn in turns]
    if attends[0] == attends[1]:
        return {}
    return {
        n: {**{f"0{k}": t for k, t in a.items()}, **{f"1{k}": t for k, t in b.items()}}
        for n, a, b in zip(numbers[::2], *turns)
    }


def _numbers(name: str) -> Iterator[tuple[str, int, str]]:
    """Yield (what stands before, the number, what stands behind) of every numbered part."""
    for match in _NUMBERED.finditer(name):
        yield name[: match.start()], int(match[0]), name[match.end() :]


def _is_block_like(member: Mapping[str, NamedTensor]) -> bool:
    """Whether a member holds a norm and two matrices, or attention and a network without norms."""
    if _count(member.values()) < 2:
        return False
    if _holds_attention_and_more(member):
        return True
    return any(_says_norm(name) or is_norm(name, t, member) for name, t in member.items())


def _holds_attention_and_more(member: Mapping[str, NamedTensor]) -> bool:
    """Whether two matrices are of attention by their names, and two others are not."""
    matrices = [name for name, t in member.items() if t.is_floating and _is_matrix(t.shape)]
    inside = sum(_says_attention(name) for name in matrices)
    return inside >= 2 and len(matrices) - inside >= 2


@lru_cache(maxsize=4096)
def _says_attention(name: str) -> bool:
    """Whether a name inside a block says attention."""
    return bool(_ATTENTION.search(name))


@lru_cache(maxsize=1024)
def _is_matrix(shape: tuple[int, ...]) -> bool:
    pointwise = (len(shape) == 4 and shape[2:] == (1, 1)) or (len(shape) == 3 and shape[-1] == 1)
    return (len(shape) == 2 or pointwise) and min(shape[:2]) > 1


def _are_stages(
    members: Mapping[int, Mapping[str, NamedTensor]], inner: Mapping[int, Sequence[BlockList]]
) -> bool:
    """Whether the members hold, for the most part, lists of blocks of their own."""
    if not any(inner.values()):
        return False
    shares = []
    for number, member in members.items():
        lists = inner[number]
        inside = (block for each in lists if each.attends for block in each.blocks)
        held = sum(_count(block.tensors.values()) for block in inside)
        shares.append(held >= _MOSTLY * max(1, _count(member.values())))
    return sum(shares) > len(shares) / 2


def _count(tensors: Iterable[NamedTensor]) -> int:
    return sum(_is_matrix(tensor.shape) and tensor.is_floating for tensor in tensors)


def _alike(
    members: Mapping[int, Mapping[str, NamedTensor]],
) -> dict[int, Mapping[str, NamedTensor]]:
    """Return the members that share one set of names, where most members do; else nothing."""
    names = {
        number: {n for n, t in m.items() if _is_learned(n, t)} for number, m in members.items()
    }
    counts = Counter(name for each in names.values() for name in each)
    common = {name for name, count in counts.items() if 2 * count > len(names)}
    alike = {n: members[n] for n, own in names.items() if _overlap(own, common) >= _ALIKE}
    return alike if 2 * len(alike) > len(members) else {}


def _is_learned(name: str, tensor: NamedTensor) -> bool:
    return tensor.is_floating and "running_" not in name and not name.endswith("attn_mask")


def _overlap(own: set[str], common: set[str]) -> float:
    return len(own & common) / max(1, len(own | common))


def _list_of(
    prefix: str, members: Mapping[int, Mapping[str, NamedTensor]], order: Mapping[str, int]
) -> BlockList:
    numbers = tuple(sorted(members))
    blocks = tuple(
        FoundBlock(f"{prefix}{n}", {name.lstrip("."): t for name, t in members[n].items()})
        for n in numbers
    )
    first = min(order[t.path] for t in members[numbers[0]].values())
    return BlockList(prefix, blocks, numbers, first)
