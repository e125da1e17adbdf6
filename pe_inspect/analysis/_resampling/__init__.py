"""Resampling methods by name: each is one function in this folder.

A plain method maps a table on one grid to a table on another. A rule is what a library or a family
does, and may depend on the embedding: it returns the plain method to use.

    @resampling("nearest", call="mode='nearest'", source="torch.nn.functional.interpolate")
    def nearest(values, grid_size): ...

    @rule("timm", call="…", source="timm.layers.resample_abs_pos_embed")
    def timm(pe): return bicubic_aa
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

import numpy as np

from pe_inspect.position_embedding import PositionEmbedding
from pe_inspect.registry import Registry

__all__ = ["Method", "Resample", "methods", "resampling", "rule"]

Resample: TypeAlias = Callable[[np.ndarray, tuple[int, int]], np.ndarray]
Rule: TypeAlias = Callable[[PositionEmbedding], Resample]
AnyResample = TypeVar("AnyResample", bound=Resample)
AnyRule = TypeVar("AnyRule", bound=Rule)


@dataclass(frozen=True)
class Method:
    """One entry of `--method list`.

    Attributes:
        name: as typed after `--method`.
        call: the exact arguments, in the words of the library that defines it.
        source: where it is defined.
        rule: embedding → the function (H, W, C), (H′, W′) → (H′, W′, C) that resamples it.
    """

    name: str
    call: str
    source: str
    rule: Rule

    def __str__(self) -> str:
        """The line of `--method list`."""
        return f"{self.call} · {self.source}"


methods: Registry[Method] = Registry("method", "pe_inspect.analysis._resampling")


def resampling(name: str, *, call: str, source: str) -> Callable[[AnyResample], AnyResample]:
    """Register a plain method: one function (H, W, C), (H′, W′) → (H′, W′, C)."""

    def enter(function: AnyResample) -> AnyResample:
        methods.register(name)(Method(name, call, source, lambda _: function))
        return function

    return enter


def rule(name: str, *, call: str, source: str) -> Callable[[AnyRule], AnyRule]:
    """Register a rule: one function embedding → plain method."""

    def enter(function: AnyRule) -> AnyRule:
        methods.register(name)(Method(name, call, source, function))
        return function

    return enter
