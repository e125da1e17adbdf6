"""Every two embeddings in one number: CKA of tables and layers, distance once aligned."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import Final

import numpy as np

from pe_inspect.analysis.compare.cka import Centred, centred, cka_matrix
from pe_inspect.analysis.compare.procrustes import procrustes_distance
from pe_inspect.analysis.compare.representations import has_vectors, layer_rows, stored_rows
from pe_inspect.analysis.compare.side_by_side import SideBySide
from pe_inspect.arrays import Float

__all__ = ["Alignment"]

MOST_VALUES: Final = 1 << 27  # of all layers that are held at a time: 512 MiB of float32
MOST_EXACT: Final = 1 << 23  # up to which float64 costs nothing: 64 MiB


@dataclass(frozen=True, eq=False)
class Alignment:
    """Tables and layers of embeddings that stand side by side.

    Positions without a finite row in one of them are left out of all. Procrustes distances are of
    vectors: NaN for kinds that have none.

    Attributes:
        side: the embeddings.
    """

    side: SideBySide

    @cached_property
    def cka(self) -> Float[np.ndarray, "embeddings embeddings"]:
        """Linear CKA of the stored tables; several tables of one model stand side by side."""
        return cka_matrix(self._tables)

    @cached_property
    def cka_unbiased(self) -> Float[np.ndarray, "embeddings embeddings"]:
        """The same by HSIC₁."""
        return cka_matrix(self._tables, unbiased=True)

    @cached_property
    def procrustes(self) -> Float[np.ndarray, "embeddings embeddings"]:
        """The distance of the stored tables once one is rotated onto the other."""
        return self._distances(self._tables)

    @cached_property
    def by_depth(self) -> tuple[dict[str, Float[np.ndarray, "embeddings embeddings"]], ...]:
        """`cka`, `cka_unbiased` and `procrustes` of every matched layer."""
        return tuple(
            {
                "cka": cka_matrix(stage),
                "cka_unbiased": cka_matrix(stage, unbiased=True),
                "procrustes": self._distances(stage),
            }
            for stage in zip(*self._layers)
        )

    @property
    def cka_layers(self) -> Float[np.ndarray, "embeddings embeddings layers layers"] | None:
        """Linear CKA of every layer with every other; `None` where depths differ."""
        if len({len(result.views) for result in self.side.results}) > 1:
            return None
        count, depth = len(self._layers), len(self._layers[0])
        flat = cka_matrix([layer for layers in self._layers for layer in layers])
        return flat.reshape(count, depth, count, depth).transpose(0, 2, 1, 3)

    @property
    def num_left_out(self) -> int:
        """Positions without a finite row in some table."""
        return int(np.count_nonzero(~self._known))

    @property
    def step(self) -> int:
        """Every how many-th position stands in the comparison of layers: 1 unless they are huge."""
        return max(-(-self._num_values // MOST_VALUES), 1)

    @cached_property
    def _rows(self) -> list[np.ndarray]:
        return [stored_rows(result.pe) for result in self.side.results]

    @cached_property
    def _known(self) -> np.ndarray:
        finite = [np.isfinite(rows).all(axis=1) for rows in self._rows]
        return np.asarray(np.logical_and.reduce(finite))

    @cached_property
    def _tables(self) -> list[Centred]:
        return [centred(rows[self._known].astype(np.float64)) for rows in self._rows]

    @property
    def _num_values(self) -> int:
        depth = len(self.side.layers[0])
        return sum(rows.size for rows in self._rows) * depth

    @cached_property
    def _layers(self) -> list[list[Centred]]:
        """Every embedding's matched layers."""
        exact = np.float64 if self._num_values <= MOST_EXACT else np.float32
        known = np.flatnonzero(self._known)[:: self.step]
        return [
            [centred(rows[known].astype(exact)) for rows in _matched(layer_rows(result), places)]
            for result, places in zip(self.side.results, self.side.layers)
        ]

    def _distances(self, tables: Sequence[Centred]) -> Float[np.ndarray, "tables tables"]:
        found = np.full((len(tables),) * 2, np.nan)
        has = [has_vectors(result.pe) for result in self.side.results]
        for i, j in combinations(range(len(tables)), 2):
            if has[i] and has[j]:
                found[i, j] = found[j, i] = procrustes_distance(tables[i], tables[j])
        for i, one in enumerate(tables):
            if has[i] and one.squares.any():
                found[i, i] = 0.0
        return found


def _matched(rows: Iterator[np.ndarray], places: Sequence[int]) -> Iterator[np.ndarray]:
    return (values for k, values in enumerate(rows) if k in places)
