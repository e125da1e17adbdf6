"""The baking room: a checkpoint with another resolution in it, so that no model need resample.

One module a way of storing positions, each of which knows what becomes of the tensors that its
families store; `_plan` puts their answers together, `_writing` makes the file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pe_inspect.arrays import Shaped
from pe_inspect.families.trunk import Trunk
from pe_inspect.kinds.position_embedding import PositionEmbedding
from pe_inspect.registry import Registry

if TYPE_CHECKING:
    from pe_inspect.resampling.resampler import Resampler

__all__ = ["Baker", "Job", "TensorChange", "bakers", "bakes"]


@dataclass(frozen=True, eq=False)
class TensorChange:
    """What becomes of one stored tensor, or a sentence about one that stays.

    Attributes:
        key: the checkpoint's name of the tensor; empty where nothing changes.
        values: what takes its place.
        note: what the reader of the new file must know.
    """

    key: str = ""
    values: Shaped[np.ndarray, "..."] | None = None
    note: str = ""


@dataclass(frozen=True)
class Job:
    """How one embedding is to be resampled.

    Attributes:
        pe: the embedding as it is.
        size: the (H, W) that its largest grid becomes.
        resampler: the plain method.
        renormalise: whether rows get back the lengths that the source's rows have.
    """

    pe: PositionEmbedding
    size: tuple[int, int]
    resampler: Resampler
    renormalise: bool = False


Baker = Callable[[Trunk, Job], Iterator[TensorChange]]

bakers: Registry[Baker] = Registry("baker", "pe_inspect.baking.bakers")


def bakes(*families: str) -> Callable[[Baker], Baker]:
    """Register the decorated function for families that store positions in one way."""

    def enter(baker: Baker) -> Baker:
        for family in families:
            bakers.register(family)(baker)
        return baker

    return enter
