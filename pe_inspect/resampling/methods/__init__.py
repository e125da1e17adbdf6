"""Resampling methods by name, each with its exact arguments and the place that defines it.

A method picks, for one embedding, the `Resampler` that does the work: a plain method is always the
same one, a library's rule depends on the kind of scheme, and `native` on whose weights they are.
New plain methods and rules are entered with the functions of `resampling/registering.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pe_inspect.kinds.position_embedding import Kind, PositionEmbedding
from pe_inspect.registry import Registry

if TYPE_CHECKING:
    from pe_inspect.resampling.resampler import Resampler

__all__ = ["Method", "methods"]


@dataclass(frozen=True)
class Method:
    """One entry of `--method list`.

    Attributes:
        name: as typed after `--method`.
        call: the exact arguments, in the words of the library that defines it.
        source: where it is defined.
        kinds: the kinds of scheme that it applies to.
        choose: embedding → what resamples its tables.
        model_types: what a config.json calls the models whose own rule it is.
        from_source: those of them whose rule was read from source, and asked of no object.
        of_authors: those that take no other size in their library; the rule is their authors'.
    """

    name: str
    call: str
    source: str
    kinds: tuple[Kind, ...]
    choose: Callable[[PositionEmbedding], Resampler]
    model_types: tuple[str, ...] = ()
    from_source: tuple[str, ...] = ()
    of_authors: tuple[str, ...] = ()

    def suits(self, pe: PositionEmbedding) -> bool:
        """Whether it applies to an embedding; a computed bias can be treated as a stored one."""
        return any(word in self.kinds for word in pe.scheme_kind.resampled_as)

    def has_rule_for(self, pe: PositionEmbedding) -> bool:
        """Whether it is defined for an embedding's own kind, and not for a like one."""
        return pe.scheme_kind.word in self.kinds

    def proof(self, model_type: str) -> str:
        """What the rule of a type rests on, in words; empty where its own object was asked."""
        if model_type in self.of_authors:
            return "which takes no other size in its library: the rule is its authors'"
        if model_type in self.from_source:
            return "whose rule was read from its source, and asked of no model"
        return ""

    def __str__(self) -> str:
        """The line of `--method list`."""
        types = f" · native of {', '.join(self.model_types)}" if self.model_types else ""
        return f"{self.call} · {self.source} · for {', '.join(self.kinds)}{types}"


methods: Registry[Method] = Registry("method", "pe_inspect.resampling.methods")
