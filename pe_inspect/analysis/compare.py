"""Several embeddings side by side: one grid, matched layers, one scale, and how alike maps are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import Any

import numpy as np

from pe_inspect.analysis.common.map_statistics import correlation, shared_scale
from pe_inspect.analysis.common.numbers import mean_of
from pe_inspect.analysis.interpolate import interpolate
from pe_inspect.analysis.similarity import SimilarityResult, similarity
from pe_inspect.arrays import Float32
from pe_inspect.errors import UsageError
from pe_inspect.kinds.affinity import Affinity
from pe_inspect.kinds.position_embedding import PositionEmbedding

__all__ = ["Comparison", "Likeness", "compare"]


@dataclass(frozen=True)
class Likeness:
    """How alike the maps of two embeddings are, matched layer by matched layer.

    Attributes:
        first: the place of one embedding.
        second: of the other.
        correlations: Pearson's, over all pairs of different patches; NaN where one is constant.
        differences: the mean absolute difference over pairs that are defined in both.
    """

    first: int
    second: int
    correlations: tuple[float, ...]
    differences: tuple[float, ...]


@dataclass(frozen=True, eq=False)
class Comparison:
    """Results on one grid and one scale.

    Attributes:
        places: which of the given results are here: those of one quantity.
        results: they, resampled where their grid was another.
        layers: for each, the places of the layers that are matched, equally many.
        notes: what was resampled, matched or left out, in words.
    """

    places: tuple[int, ...]
    results: tuple[SimilarityResult, ...]
    layers: tuple[tuple[int, ...], ...]
    notes: tuple[str, ...]

    @property
    def grid_size(self) -> tuple[int, int]:
        """(H, W) that all share."""
        return self.results[0].grid_size

    @cached_property
    def scale(self) -> tuple[float, float]:
        """The middle and the half-width of the one scale: 0 and 1 for cosines."""
        limit = self.results[0].affinity.limit
        if limit:
            return 0.0, limit
        return shared_scale([row for result in self.results for row in result.statistics])

    def names(self, place: int, columns: Sequence[int]) -> list[str]:
        """Return the names that one result's matched layers have, of those in some columns."""
        names, layers = self.results[place].layer_names, self.layers[place]
        return [names[layers[column]] for column in columns]

    def of_notion(self, labels: Sequence[str]) -> dict[str, list[str]]:
        """Return, for each notion of "per layer" that is met, the labels of who shows it."""
        found: dict[str, list[str]] = {}
        for result, label in zip(self.results, labels):
            for notion in dict.fromkeys(view.notion for view in result.views):
                found.setdefault(notion, []).append(label)
        return found

    def query_maps(
        self, token: tuple[int, int] | None = None
    ) -> Iterator[tuple[Float32[np.ndarray, "layers rows columns"], tuple[int, int]]]:
        """Yield, for each result, one patch's map in the matched layers, and the patch."""
        for result, places in zip(self.results, self.layers):
            maps = [values.mean(axis=0) for _, values in result.queries(token)]
            yield np.stack([maps[k] for k in places]), token or result.views[0].middle

    @cached_property
    def likenesses(self) -> tuple[Likeness, ...]:
        """Every two results: how alike their maps are; one layer is in memory at a time."""
        pairs = list(combinations(range(len(self.results)), 2))
        found: dict[tuple[int, int], list[tuple[float, float]]] = {pair: [] for pair in pairs}
        for stage in zip(*(self._matched(k) for k in range(len(self.results)))):
            for one, other in pairs:
                found[one, other].append(_compared(stage[one], stage[other]))
        return tuple(Likeness(*pair, *zip(*numbers)) for pair, numbers in found.items())

    def _matched(self, place: int) -> Iterator[Float32[np.ndarray, "patches patches"]]:
        result, wanted = self.results[place], self.layers[place]
        for k, (_, alike) in enumerate(result.affinities()):
            if k in wanted:
                yield alike.map(_shown_head(result, alike))


def compare(results: Sequence[SimilarityResult], labels: Sequence[str]) -> Comparison | None:
    """Bring results of one quantity onto one grid, and match their layers by depth.

    The grid is the commonest one, the first of several that are equally common. Another grid's
    embedding is resampled by its family's own rule, and asked anew.

    Args:
        results: one an embedding.
        labels: theirs, for the notes.

    Returns:
        `None` where no two results have a quantity in common.
    """
    shown, notes = _of_one_quantity(results, labels)
    grid = Counter(results[k].grid_size for k in shown).most_common(1)[0][0]
    kept: list[tuple[int, SimilarityResult]] = []
    for place in shown:
        try:
            kept.append((place, _on_grid(results[place], grid)))
        except UsageError as reason:
            notes.append(f"{labels[place]} is left out: {reason}")
    if len(kept) < 2:
        return None
    places, asked = zip(*kept)
    notes += _resampling_notes(results, labels, places, grid)
    layers = _matched_layers([len(result.views) for result in asked])
    notes += _left_out(asked, layers, [labels[place] for place in places])
    return Comparison(places, asked, layers, tuple(notes))


def _of_one_quantity(
    results: Sequence[SimilarityResult], labels: Sequence[str]
) -> tuple[list[int], list[str]]:
    """Return the places of results that show the commonest quantity, and who is left out."""
    uniform = [k for k, result in enumerate(results) if result.is_uniform]
    several = [labels[k] for k in range(len(results)) if k not in uniform]
    notes = [f"{name} is left out: its grids differ from layer to layer" for name in several]
    names = {k: results[k].affinity.name for k in uniform}
    if not names:
        return list(range(len(results)))[:1], notes
    common = Counter(names.values()).most_common(1)[0][0]
    for k, name in names.items():
        if name != common:
            notes.append(f"{labels[k]} is left out: it shows the {name}, the others the {common}")
    return [k for k, name in names.items() if name == common], notes


def _on_grid(result: SimilarityResult, grid: tuple[int, int]) -> SimilarityResult:
    if result.grid_size == grid:
        return result
    moved: PositionEmbedding = interpolate(result.pe, grid=grid).embedding()
    again: SimilarityResult = similarity(moved, head=result.head, ln_eps=result.ln_eps, raw=False)
    return again


def _resampling_notes(
    results: Sequence[SimilarityResult],
    labels: Sequence[str],
    places: Sequence[int],
    grid: tuple[int, int],
) -> list[str]:
    target = f"{grid[0]}×{grid[1]}"
    moved = [(labels[k], results[k].grid_size) for k in places if results[k].grid_size != grid]
    return [
        f"{name} was resampled from {rows}×{columns} to {target} patches by its own library's rule"
        for name, (rows, columns) in moved
    ]


def _matched_layers(depths: Sequence[int]) -> tuple[tuple[int, ...], ...]:
    """Return, for each depth, as many evenly spaced places as the shallowest has layers."""
    count = min(depths)
    spaced = (np.linspace(0, depth - 1, count).round().astype(int) for depth in depths)
    return tuple(tuple(int(place) for place in places) for places in spaced)


def _left_out(
    results: Sequence[Any], layers: Sequence[tuple[int, ...]], labels: Sequence[str]
) -> list[str]:
    return [
        f"shown of {name}: {len(places)} of {len(result.views)} layers, at the same depth as the "
        "others'"
        for result, places, name in zip(results, layers, labels)
        if len(places) < len(result.views)
    ]


def _compared(one: np.ndarray, other: np.ndarray) -> tuple[float, float]:
    return correlation(one, other), mean_of(np.abs(one - other))


def _shown_head(result: SimilarityResult, alike: Affinity) -> int | None:
    return 0 if alike.num_heads == 1 else result.head
