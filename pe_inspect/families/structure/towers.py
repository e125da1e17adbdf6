"""Which towers a file holds: lists of blocks that belong together, and what feeds them."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from operator import itemgetter
from typing import Final

from pe_inspect.families.structure.blocks import BlockList, FoundBlock, find_blocks
from pe_inspect.families.structure.names import (
    NamedTensor,
    common_depth,
    form,
    is_codebook,
    is_decoders,
    is_textual,
    is_visual,
    pair_axis,
    says_patch,
    says_position,
    says_vocabulary,
    token_sort,
    wildcard,
)

__all__ = ["ExtraTokens", "Kernel", "Survey", "Tower", "extra_tokens", "survey"]

_MOST_CHANNELS: Final = 16
_MOST_COLOURS: Final = 4
_TABLE: Final = 2  # axes of (entries, channels)
_ALIKE: Final = 0.7


@dataclass(frozen=True)
class Kernel:
    """A kernel, or a matrix on flattened patches, that may make tokens of an image.

    Attributes:
        named: the tensor.
        out: channels that it makes.
        sides: of the kernel: (h, w) or (t, h, w); empty for a matrix.
        into: channels of what it looks at; 0 for a matrix.
    """

    named: NamedTensor
    out: int
    sides: tuple[int, ...]
    into: int = 0


@dataclass(frozen=True)
class Tower:
    """Lists of blocks that belong together.

    Attributes:
        lists: in the file's order.
    """

    lists: tuple[BlockList, ...]

    @cached_property
    def blocks(self) -> tuple[FoundBlock, ...]:
        """All blocks, in order."""
        return tuple(block for each in self.lists for block in each.blocks)

    @property
    def width(self) -> int:
        """The width of the first block."""
        return self.blocks[0].width

    @cached_property
    def widths(self) -> frozenset[int]:
        """The widths of all blocks."""
        return frozenset(width for each in self.lists for width in each.widths)

    @property
    def prefix(self) -> str:
        """Where the first list lies."""
        return self.lists[0].prefix

    @cached_property
    def depth(self) -> int:
        """How many blocks there are; gaps of a numbered list are counted."""
        return sum(len(each.blocks) + len(each.missing) for each in self.lists)

    @property
    def is_paired(self) -> bool:
        """Whether its blocks are two members of a list each: attention, and a network."""
        return any(each.is_paired for each in self.lists)

    @property
    def attends(self) -> bool:
        """Whether its blocks hold attention."""
        return any(each.attends for each in self.lists)


@dataclass(frozen=True)
class Survey:
    """A file at a glance.

    Attributes:
        tensors: path → tensor.
        lists: every list of blocks.
        towers: the lists, those that belong together as one.
        kernels: what may make tokens of images, in the file's order.
        vocabularies: tables of words.
    """

    tensors: Mapping[str, NamedTensor]
    lists: tuple[BlockList, ...]
    towers: tuple[Tower, ...]
    kernels: tuple[Kernel, ...]
    vocabularies: tuple[NamedTensor, ...]

    @cached_property
    def in_block(self) -> Mapping[str, FoundBlock]:
        """Path of a tensor → the block that holds it."""
        blocks = (block for each in self.lists for block in each.blocks)
        return {t.path: block for block in blocks for t in block.tensors.values()}

    def those(self, says: Callable[[NamedTensor], bool]) -> list[NamedTensor]:
        """Return the tensors of which something holds, in the file's order.

        Args:
            says: looks at the form of the path, the shape and the type alone, and so is asked of
                one tensor of each: a file has a few dozen, whatever the number of its blocks.
        """
        found = [each for group in self._alike if says(group[0][1]) for each in group]
        return [named for _, named in sorted(found, key=itemgetter(0))]

    @cached_property
    def _alike(self) -> list[list[tuple[int, NamedTensor]]]:
        """The tensors and their places in the file, those of one form, shape and type together."""
        groups: dict[Hashable, list[tuple[int, NamedTensor]]] = {}
        for place, named in enumerate(self.tensors.values()):
            alike = (form(named.path), named.shape, named.dtype)
            groups.setdefault(alike, []).append((place, named))
        return list(groups.values())

    @cached_property
    def is_deep(self) -> bool:
        """Whether a kernel has three sides: of a clip, or a volume."""
        return any(len(kernel.sides) == 3 for kernel in self.kernels)

    @cached_property
    def axes(self) -> Mapping[str, frozenset[str]]:
        """Path without its word for an axis → the axes that tensors of that name are of."""
        found: dict[str, set[str]] = {}
        for named in self.those(lambda each: pair_axis(each.path) is not None):
            if pair := pair_axis(named.path):
                found.setdefault(pair[0], set()).add(pair[1])
        return {path: frozenset(own) for path, own in found.items()}

    @cached_property
    def by_module(self) -> Mapping[str, tuple[NamedTensor, ...]]:
        """Path of a module → the tensors that it holds itself."""
        found: dict[str, list[NamedTensor]] = {}
        for tensor in self.tensors.values():
            found.setdefault(tensor.module, []).append(tensor)
        return {module: tuple(own) for module, own in found.items()}

    def is_text(self, path: str) -> bool:
        """Whether a path lies nearer to a vocabulary than to a patch kernel."""
        if not self.vocabularies:
            return is_textual(path) and bool(self.kernels)
        if not self.kernels and is_visual(path):
            return False
        words = max(common_depth(path, named.path) for named in self.vocabularies)
        sight = max((common_depth(path, k.named.path) for k in self.kernels), default=-1)
        return words > sight or (words == sight and is_textual(path))

    def has_bias(self, named: NamedTensor) -> bool:
        """Whether a tensor stands beside a bias of its module, as a matrix of a Linear does."""
        return named.leaf in ("weight", "kernel") and f"{named.module}.bias" in self.tensors

    def tower_of(self, path: str, widths: Iterable[int]) -> Tower | None:
        """Return the tower that a table at `path` feeds: of its width, and nearest by name."""
        wanted = set(widths)
        wide = [t for t in self.towers if t.widths & wanted]
        fitting = [t for t in wide if not self.is_text(t.prefix)] or wide * (not self.kernels)
        if not fitting:
            return None
        return max(fitting, key=lambda tower: self._nearness(path, tower))

    def tower_holding(self, path: str) -> Tower | None:
        """Return the tower in one of whose blocks a tensor lies."""
        block = self.in_block.get(path)
        return self._tower_of_block.get(block.path) if block is not None else None

    @cached_property
    def _tower_of_block(self) -> Mapping[str, Tower]:
        return {block.path: tower for tower in self.towers for block in tower.blocks}

    def _nearness(self, path: str, tower: Tower) -> tuple[bool, int, bool, int, int]:
        same = is_decoders(path) == is_decoders(tower.prefix)
        near = common_depth(path, tower.prefix)
        return same, near, tower.attends, tower.depth, -tower.lists[0].order


def survey(tensors: Mapping[str, NamedTensor]) -> Survey:
    """Look over a file's tensors once."""
    lists = find_blocks(tensors)
    inside = {t.path for each in lists for b in each.blocks for t in b.tensors.values()}
    outside = [named for path, named in tensors.items() if path not in inside]
    kernels = tuple(k for named in outside if (k := _kernel(named, tensors)) is not None)
    codes = {n.shape[0] for n in outside if len(n.shape) == _TABLE and is_codebook(n.path)}
    words = (named for named in outside if _is_vocabulary(named, tensors))
    return Survey(
        tensors,
        lists,
        tuple(_towers(lists, kernels)),
        kernels,
        tuple(named for named in words if named.shape[0] not in codes),
    )


def _towers(lists: Iterable[BlockList], kernels: Sequence[Kernel]) -> list[Tower]:
    """Join lists: stages of one row, and neighbours of one width whose blocks are alike.

    Members of a row that each look at an image themselves are towers, and no stages.
    """
    groups: list[list[BlockList]] = []
    for each in lists:
        home = next(
            (g for g in groups if _belong(g[0], each) and not _look_both(g[0], each, kernels)), None
        )
        if home is None:
            groups.append([each])
        else:
            home.append(each)
    return [Tower(tuple(group)) for group in groups]


def _look_both(one: BlockList, other: BlockList, kernels: Sequence[Kernel]) -> bool:
    """Whether either of two members of a row holds a kernel on images of as many channels."""
    shared = common_depth(one.prefix, other.prefix) + 1
    places = [".".join(each.prefix.split(".")[:shared]) for each in (one, other)]
    looks = [{k.into for k in kernels if f"{k.named.path}.".startswith(f"{p}.")} for p in places]
    seen = looks[0] & looks[1]
    return bool(seen) and 0 < max(seen) <= _MOST_COLOURS


def _belong(one: BlockList, other: BlockList) -> bool:
    if wildcard(one.prefix) == wildcard(other.prefix):
        return "#" in wildcard(one.prefix) or one.prefix == other.prefix
    if is_decoders(one.prefix) != is_decoders(other.prefix) or one.parent != other.parent:
        return False
    names, others = set(one.blocks[0].tensors), set(other.blocks[0].tensors)
    return one.width == other.width and _ALIKE * len(names | others) <= len(names & others)


def _kernel(named: NamedTensor, tensors: Mapping[str, NamedTensor]) -> Kernel | None:
    shape = named.shape
    if not named.is_floating or named.leaf not in ("weight", "kernel"):
        return None
    if len(shape) in (4, 5):
        flax = named.leaf == "kernel"
        out, into = (shape[-1], shape[-2]) if flax else shape[:2]
        sides = shape[:-2] if flax else shape[2:]
        seen = into <= _MOST_CHANNELS or "patch" in named.path
        return Kernel(named, out, sides, into) if seen and max(sides) > 1 else None
    if len(shape) == 2 and says_patch(named.path) and f"{named.module}.bias" in tensors:
        is_other = says_vocabulary(named.path) or "head" in named.path
        if not is_other:
            return Kernel(named, shape[1] if named.leaf == "kernel" else shape[0], ())
    return None


def _is_vocabulary(named: NamedTensor, tensors: Mapping[str, NamedTensor]) -> bool:
    if len(named.shape) != 2 or not named.is_floating or named.leaf not in ("weight", "embedding"):
        return False
    if f"{named.module}.bias" in tensors:
        return False
    return says_vocabulary(named.module)


_MOST: Final = {"cls": 8, "dist": 4, "reg": 64, "det": 1000}


@dataclass(frozen=True)
class ExtraTokens:
    """How many extra tokens a tower holds, by sort, and in which tensors.

    Attributes:
        cls: class tokens.
        dist: distillation tokens.
        reg: registers.
        det: detection tokens, which stand behind the patches.
        names: the paths of their tensors.
    """

    cls: int = 0
    dist: int = 0
    reg: int = 0
    det: int = 0
    names: tuple[str, ...] = ()

    @property
    def prefix(self) -> int:
        """Those ahead of the patches."""
        return self.cls + self.dist + self.reg

    @property
    def coverings(self) -> tuple[int, ...]:
        """How many of them a table may have rows for, the fullest first."""
        own = (self.prefix, self.cls + self.dist, self.cls, 0)
        return tuple(dict.fromkeys(own))


def extra_tokens(seen: Survey, near: str, width: int) -> ExtraTokens:
    """Count the extra tokens of `width` numbers each, those nearest to the path `near`."""
    chosen: dict[str, NamedTensor] = {}
    for named in seen.those(lambda each: token_sort(each.path) is not None):
        path, sort = named.path, token_sort(named.path)
        if sort is None or not _is_token(seen, named, sort, width):
            continue
        if sort not in chosen or _nearness(near, path) > _nearness(near, chosen[sort].path):
            chosen[sort] = named
    counts = {sort: named.size // width for sort, named in chosen.items()}
    return ExtraTokens(**counts, names=tuple(named.path for named in chosen.values()))


def _nearness(near: str, path: str) -> tuple[bool, int]:
    return is_decoders(near) == is_decoders(path), common_depth(near, path)


def _is_token(seen: Survey, named: NamedTensor, sort: str, width: int) -> bool:
    if not named.is_floating or not width or named.path in seen.in_block:
        return False
    if says_position(named.leaf) or seen.is_text(named.path) or seen.has_bias(named):
        return False
    if named.leaf == "bias" or "pool" in named.path or "head" in named.path.split(".")[0]:
        return False
    count = named.size // width
    return named.size == count * width and 1 <= count <= _MOST[sort] and width in named.shape
