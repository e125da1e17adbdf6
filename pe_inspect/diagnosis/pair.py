"""Two checkpoints side by side: the one that is examined, and the one whose model it should fit."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

from pe_inspect.diagnosis.held_tables import trunk_of
from pe_inspect.diagnosis.readings import Readings, file_readings
from pe_inspect.diagnosis.resized import Resized, resized_as
from pe_inspect.diagnosis.tensor_differences import (
    TensorDifferences,
    pattern_of,
    tensor_differences,
)
from pe_inspect.finding import Finding
from pe_inspect.kinds.position_embedding import PositionEmbedding
from pe_inspect.loading.checkpoint import Checkpoint
from pe_inspect.resampling.model_grids import main_of

__all__ = ["Explained", "Pair"]

Explained: TypeAlias = tuple[Finding, frozenset[str]]
"""A finding, and the names of the tensors that it accounts for."""


@dataclass(frozen=True, eq=False)
class Pair:
    """Two checkpoints and their embeddings.

    Attributes:
        here: the checkpoint that is examined.
        mine: its embeddings.
        there: the checkpoint that it should fit.
        others: that one's embeddings.
        divided: how the rows of its tables divide, here and there, where that is known already.
    """

    here: Checkpoint
    mine: tuple[PositionEmbedding, ...]
    there: Checkpoint
    others: tuple[PositionEmbedding, ...]
    divided: tuple[tuple[Readings, ...], tuple[Readings, ...]] | None = None

    @cached_property
    def tables(self) -> tuple[tuple[Readings, ...], tuple[Readings, ...]]:
        """How the rows of the tables of both divide: (here, there)."""
        return self.divided or (file_readings(self.here), file_readings(self.there))

    @cached_property
    def tensors(self) -> TensorDifferences:
        """Every tensor of both, compared by name and shape."""
        return tensor_differences(self.here, self.there)

    @cached_property
    def resized(self) -> Resized | None:
        """What `interpolate --write` would make of the one at the other's grid."""
        return resized_as(self.here, self.there, self.others) if self.tensors.reshaped else None

    def embeddings(self) -> Iterator[tuple[PositionEmbedding, PositionEmbedding]]:
        """Yield the embeddings of one kind side by side."""
        by_kind = {pe.scheme_kind: pe for pe in reversed(self.others)}
        alike = ((pe, by_kind.get(pe.scheme_kind)) for pe in self.mine)
        yield from ((pe, other) for pe, other in alike if other is not None)

    @staticmethod
    def main_of(tables: Sequence[PositionEmbedding]) -> PositionEmbedding:
        """Return the embedding whose grid a request names."""
        return main_of(tables, in_pixels=False)

    def is_unlike(self, *, in_attention: bool) -> bool:
        """Whether biases, or tables at the input, differ in what no resampling changes.

        That is the number of heads of biases, and the width of tables.
        """
        return any(
            _width(pe) != _width(other)
            for pe, other in self.embeddings()
            if (pe.is_pairwise if in_attention else pe.scheme_kind.has_token_rows)
        )

    def sizes(self) -> dict[str, tuple[int, int]]:
        """Return the sizes that differ: depth, number of heads, width."""
        sizes = dict[str, tuple[int, int]]()
        for pe, other in self.embeddings():
            sizes["depth"] = (pe.depth, other.depth)
            sizes["embed_dim" if pe.scheme_kind.has_token_rows else "num_heads"] = (
                _width(pe),
                _width(other),
            )
        if self.tensors.width is not None:
            sizes.setdefault("embed_dim", self.tensors.width)
        return {name: pair for name, pair in sizes.items() if all(pair) and pair[0] != pair[1]}

    def lacking_tokens(self) -> list[str]:
        """Return the tokens that the other has more of than the file: class tokens and their like.

        They are of its width, with no number of a block in their names, and axes of one before it.
        """
        return _tokens(self.tensors.missing) if self._tokens_there > 0 else []

    def spare_tokens(self) -> list[str]:
        """Return the tokens that the file has more of than the other, likewise."""
        return _tokens(self.tensors.extra) if self._tokens_there < 0 else []

    @property
    def _tokens_there(self) -> int:
        """How many more prefix tokens the other has."""
        here, there = (trunk_of(each).prefix_tokens.total for each in (self.here, self.there))
        return there - here

    def name_of(self, stored: str) -> str:
        """Return the name without wrappers of a tensor of the file that is examined."""
        return _names(self.here).get(stored, stored)

    def name_there(self, stored: str) -> str:
        """Return the name without wrappers of a tensor of the other file."""
        return _names(self.there).get(stored, stored)

    def resized_with(self, name: str) -> frozenset[str]:
        """Return what differs as a table does: its like in other blocks, and what is resized."""
        alike = {each for each in self.tensors.reshaped if pattern_of(each) == pattern_of(name)}
        mended = self.resized.fits if self.resized is not None else frozenset()
        return frozenset({name} | alike | (mended & self.tensors.reshaped.keys()))

    def of_modules(self, names: Collection[str]) -> frozenset[str]:
        """Return the tensors of modules of these names that only one of the files has."""
        lone = (*self.tensors.missing, *self.tensors.extra)
        return frozenset(each for each in lone if each.split(".")[-2:-1] and _is_of(each, names))


def _tokens(lone: Mapping[str, tuple[int, ...]]) -> list[str]:
    return [
        name
        for name, shape in lone.items()
        if "token" in name or "embedding" in name or len(shape) == 3
    ]


def _is_of(name: str, modules: Collection[str]) -> bool:
    stem = f".{name.rpartition('.')[0]}"
    return any(stem.endswith(f".{module}") for module in modules)


def _width(pe: PositionEmbedding) -> int:
    return pe.embed_dim if pe.scheme_kind.has_token_rows else pe.num_heads or 0


def _names(checkpoint: Checkpoint) -> dict[str, str]:
    return {checkpoint.stored_key(key): key for key in checkpoint}
