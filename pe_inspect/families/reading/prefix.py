"""The prefix tokens of a model: classes, distillation, registers; counted by their shapes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pe_inspect.families.reading.tensors import NamedTensors, answered_once

__all__ = ["PrefixTokens", "class_token", "prefix_tokens"]

_CLS: Final = (
    "cls_token",
    "class_token",
    "class_embedding",
    "cls",
    "embeddings.cls_token",
    "embeddings.class_embedding",
    "embedding.cls_token",
    "embeds.cls_token",
    "cls_token1",  # CoaT's, one a stage
    "cls_token_0",  # CrossViT's, one a branch
    "class_emb",
)
_DISTILLATION: Final = ("dist_token", "embeddings.distillation_token")
_REGISTERS: Final = (
    "reg_token",
    "register_tokens",
    "storage_tokens",
    "embeddings.register_tokens",
    "embeds.reg_token",
)


@dataclass(frozen=True)
class PrefixTokens:
    """How many prefix tokens a file holds, by sort.

    Attributes:
        known: whether the file holds a model at all: a bare table says nothing of prefix tokens.
        covered: whether the table is known to have a row for each of them.
    """

    cls: int = 0
    distillation: int = 0
    registers: int = 0
    known: bool = True
    covered: bool = False

    @property
    def total(self) -> int:
        """All of them: timm's `num_prefix_tokens`."""
        return self.cls + self.distillation + self.registers

    def coverings(self, said: int | None) -> tuple[int, ...]:
        """How many prefix rows a table may have: all tokens, then fewer, then none.

        Args:
            said: `num_prefix_tokens` by a flag or a config.json; outranks what the file holds.
        """
        if said is not None and said != self.total:
            return tuple(dict.fromkeys((said, 0)))
        if self.covered:
            return (self.total,)
        own = (self.total, self.cls + self.distillation, self.cls, 0)
        return tuple(dict.fromkeys(own))


@answered_once
def prefix_tokens(tensors: NamedTensors) -> PrefixTokens:
    """Count the prefix tokens that a file holds, from their shapes."""
    return PrefixTokens(
        _count(tensors, _CLS),
        _count(tensors, _DISTILLATION),
        _count(tensors, _REGISTERS),
        known=len(tensors) > 1,
    )


def class_token(tensors: NamedTensors) -> str | None:
    """Return the checkpoint's name of its class token, where it holds one."""
    return next((tensors.names[name] for name in _CLS if name in tensors.names), None)


def _count(tensors: NamedTensors, names: tuple[str, ...]) -> int:
    keys = tensors.names
    shapes = [tensors.shape(keys[name]) for name in names if name in keys]
    return (shapes[0][-2] if len(shapes[0]) > 1 else 1) if shapes else 0
