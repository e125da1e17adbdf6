"""The extra tokens of a tower: those ahead of the patches, and those behind."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pe_inspect.families.structure.names import NamedTensor, common_depth
from pe_inspect.families.structure.towers import Survey
from pe_inspect.families.structure.words import is_decoders, says_position, token_sort

__all__ = ["ExtraTokens", "extra_tokens"]

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
    for path, named in seen.tensors.items():
        sort = token_sort(path)
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
