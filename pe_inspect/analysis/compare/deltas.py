"""Each embedding's own numbers, and what it has more than the first: signed, with units."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from pe_inspect.analysis.common.numbers import mean_of
from pe_inspect.analysis.common.sentences import number_text
from pe_inspect.analysis.similarity import SimilarityResult
from pe_inspect.analysis.structure import StructureResult

__all__ = ["INDICES", "OF_LAYERS", "Delta", "Index", "deltas_of", "layer_numbers", "numbers_of"]


@dataclass(frozen=True)
class Index:
    """One number of an embedding.

    Attributes:
        words: what it is called in a sentence.
        unit: of it; empty where it has none.
        is_bounded: whether it lies in −1 to 1; else changes are judged relative to its size.
    """

    words: str
    unit: str = ""
    is_bounded: bool = True


INDICES: Final[Mapping[str, Index]] = {
    "hierarchy": Index("hierarchy"),
    "half_radius": Index("half-radius", "patches", is_bounded=False),
    "ssdc_l1": Index("SSDC, L1"),
    "ssdc_l2": Index("SSDC, L2"),
    "translation_share": Index("translation share"),
    "monotone_share": Index("monotone share"),
    "row_share": Index("row share"),
    "column_share": Index("column share"),
    "interaction_share": Index("interaction share"),
    "effective_rank": Index("effective rank", "dimensions", is_bounded=False),
    "neighbours": Index("affinity of neighbours"),
    "far": Index("affinity of far patches"),
}
"""Name → what it is; as `structure` and `similarity` define them."""
OF_LAYERS: Final = tuple(name for name in INDICES if name != "hierarchy")
"""Those that every layer has."""


@dataclass(frozen=True)
class Delta:
    """One number of an embedding against that of the first.

    Attributes:
        label: whose.
        name: which number, a key of `INDICES`.
        reference: that of the first embedding.
        value: its own.
    """

    label: str
    name: str
    reference: float
    value: float

    @property
    def index(self) -> Index:
        """What the number is."""
        return INDICES[self.name]

    @property
    def unit(self) -> str:
        """The unit; empty where there is none."""
        return self.index.unit

    @property
    def change(self) -> float:
        """The number less that of the first embedding."""
        return self.value - self.reference

    @property
    def is_told(self) -> bool:
        """Whether both numbers are defined."""
        return math.isfinite(self.change)

    @property
    def in_range(self) -> float:
        """The change in parts of the number's range, or of its own size."""
        size = 1.0 if self.index.is_bounded else max(abs(self.value), abs(self.reference), 1e-12)
        return self.change / size

    @property
    def words(self) -> str:
        """`half-radius −0.62 patches (3.10 → 2.48)`."""
        sign = "+" if self.change >= 0 else ""
        texts = [
            number_text(one, on_a_scale=self.index.is_bounded)
            for one in (self.change, self.reference, self.value)
        ]
        unit = f" {self.unit}" if self.unit else ""
        return f"{self.index.words} {sign}{texts[0]}{unit} ({texts[1]} → {texts[2]})"


def numbers_of(maps: SimilarityResult, indices: StructureResult) -> dict[str, float]:
    """Return an embedding's own numbers by the names of `INDICES`; of layers, their means."""
    rows = layer_numbers(maps, indices)
    means = {name: mean_of(np.array([row[name] for row in rows])) for name in OF_LAYERS}
    return {"hierarchy": indices.hierarchy, **means}


def layer_numbers(maps: SimilarityResult, indices: StructureResult) -> list[dict[str, float]]:
    """Return the numbers of `OF_LAYERS` of every layer that is shown."""
    by_name = {row["layer"]: row for row in indices.rows()}
    found = [{**by_name[row["layer"]], **row} for row in maps.rows()]
    return [{name: row[name] for name in OF_LAYERS} for row in found]


def deltas_of(labels: Sequence[str], numbers: Sequence[Mapping[str, float]]) -> Iterator[Delta]:
    """Yield every number of every embedding but the first, against that of the first."""
    first = numbers[0]
    for label, own in zip(labels[1:], numbers[1:]):
        for name in INDICES:
            yield Delta(label, name, first[name], own[name])
