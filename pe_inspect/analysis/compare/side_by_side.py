"""Several embeddings on one grid, with their layers matched by depth."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np

from pe_inspect.analysis.common.map_statistics import shared_scale
from pe_inspect.analysis.interpolate import interpolate
from pe_inspect.analysis.similarity import SimilarityResult, similarity
from pe_inspect.arrays import Float32
from pe_inspect.errors import UndecidedGrid, UsageError
from pe_inspect.kinds.affinity import Affinity
from pe_inspect.kinds.frames import has_frames
from pe_inspect.kinds.parts import grid_words
from pe_inspect.kinds.position_embedding import PositionEmbedding

__all__ = ["SideBySide", "Subject", "side_by_side"]

Subject: TypeAlias = PositionEmbedding | SimilarityResult


@dataclass(frozen=True, eq=False)
class SideBySide:
    """Embeddings on one grid.

    Attributes:
        places: which of those that were given are here.
        labels: their names.
        results: their maps; of those whose grid was another, after resampling.
        layers: for each, the places of the layers that are matched, equally many.
        notes: what was resampled, matched or left out, in words.
    """

    places: tuple[int, ...]
    labels: tuple[str, ...]
    results: tuple[SimilarityResult, ...]
    layers: tuple[tuple[int, ...], ...]
    notes: tuple[str, ...]

    @property
    def grid_size(self) -> tuple[int, int]:
        """(H, W) that all share."""
        return self.results[0].grid_size

    @property
    def quantities(self) -> tuple[str, ...]:
        """What the maps of each show."""
        return tuple(result.affinity.name for result in self.results)

    @cached_property
    def drawn(self) -> tuple[int, ...]:
        """Who shares the scale of the figure: all that lie in one range, or show one quantity."""
        scales = [_scale_of(result) for result in self.results]
        common = Counter(scales).most_common(1)[0][0]
        return tuple(k for k, scale in enumerate(scales) if scale == common)

    @cached_property
    def scale(self) -> tuple[float, float]:
        """The middle and the half-width of the scale of the drawn: 0 and 1 of cosines."""
        shown = [self.results[k] for k in self.drawn]
        limit = shown[0].affinity.limit
        if limit:
            return 0.0, limit
        return shared_scale([row for result in shown for row in result.statistics])

    def share_a_scale(self, one: int, other: int) -> bool:
        """Whether the values of two may be subtracted."""
        return _scale_of(self.results[one]) == _scale_of(self.results[other])

    def names(self, place: int, columns: Sequence[int]) -> list[str]:
        """Return the names that one result's matched layers have, of those in some columns."""
        names, layers = self.results[place].layer_names, self.layers[place]
        return [names[layers[column]] for column in columns]

    def of_notion(self) -> dict[str, list[str]]:
        """Return, for each notion of "per layer" that is met, the labels of who shows it."""
        found: dict[str, list[str]] = {}
        for result, label in zip(self.results, self.labels):
            for notion in dict.fromkeys(view.notion for view in result.views):
                found.setdefault(notion, []).append(label)
        return found

    def query_maps(
        self, token: tuple[int, int] | None = None
    ) -> Iterator[tuple[Float32[np.ndarray, "layers rows columns"], tuple[int, int]]]:
        """Yield, for each result, one patch's map in the matched layers, and the patch."""
        for result, places in zip(self.results, self.layers):
            maps = [values.mean(axis=0) for _, values in result.queries(token)]
            yield (
                np.stack([maps[k] for k in places]),
                token or result.token or result.views[0].middle,
            )

    def matched(self) -> Iterator[tuple[Float32[np.ndarray, "patches patches"], ...]]:
        """Yield the maps of all, matched layer by matched layer; one stage is in memory."""
        yield from zip(*(self._maps(place) for place in range(len(self.results))))

    def _maps(self, place: int) -> Iterator[Float32[np.ndarray, "patches patches"]]:
        result, wanted = self.results[place], self.layers[place]
        for k, (_, alike) in enumerate(result.affinities()):
            if k in wanted:
                yield alike.map(_shown_head(result, alike))


def side_by_side(subjects: Sequence[Subject], labels: Sequence[str], **options: Any) -> SideBySide:
    """Bring embeddings onto the smallest grid among them, and match their layers by depth.

    Another grid's embedding is resampled by its family's own rule, and asked anew.

    Args:
        subjects: embeddings, or their maps where they were asked for already.
        labels: their names, for the notes.
        options: of `similarity`, with which embeddings are asked.

    Raises:
        UsageError: fewer than two are left, and why.
    """
    left_out: list[str] = []
    asked = _kept(subjects, labels, left_out, lambda one: _asked(one, options))
    if not asked:
        raise UsageError("\n".join(left_out))
    grid = min((_grid_of(one.pe) for one in asked.values()), key=np.prod)
    moved = _kept(list(asked.values()), [labels[k] for k in asked], left_out,
                  lambda one: _on_grid(one, grid))  # fmt: skip
    places = [list(asked)[k] for k in moved]
    if len(places) < 2:
        raise UsageError("\n".join(["Fewer than two embeddings can be compared.", *left_out]))
    results, names = tuple(moved.values()), tuple(labels[k] for k in places)
    layers = _matched_layers([len(result.views) for result in results])
    notes = [
        *left_out,
        *_resampling_notes([asked[k] for k in places], names, grid),
        *_unmatched(results, layers, names),
    ]
    return SideBySide(tuple(places), names, results, layers, tuple(notes))


def _kept(
    subjects: Sequence[Any], labels: Sequence[str], left_out: list[str], make: Any
) -> dict[int, SimilarityResult]:
    """Return place → what is made of it; why others have none goes to `left_out`."""
    found = {}
    for place, (subject, label) in enumerate(zip(subjects, labels)):
        try:
            found[place] = make(subject)
        except (UsageError, UndecidedGrid) as reason:
            left_out.append(f"{label} is left out: {reason}")
    return found


def _asked(subject: Subject, options: dict[str, Any]) -> SimilarityResult:
    """Return the maps of a subject, all on one grid.

    Raises:
        UsageError: its layers have several grids, or it has none of what was asked for.
    """
    is_asked = isinstance(subject, SimilarityResult)
    maps: Any = subject if is_asked else similarity(subject, raw=False, **options)
    result: SimilarityResult = maps
    if not result.is_uniform:
        raise UsageError("its grids differ from layer to layer")
    return result


def _on_grid(result: SimilarityResult, grid: tuple[int, ...]) -> SimilarityResult:
    if _grid_of(result.pe) == grid:
        return result
    if has_frames(result.pe) or result.views[0].num_frames > 1 or len(grid) > 2:
        raise UsageError(f"frames are resampled to no other grid here, and {grid_words(grid)} is")
    moved: PositionEmbedding = interpolate(result.pe, grid=grid).embedding()
    chosen = result.layer_names if len(result.layer_names) < len(moved.layer_names) else None
    again: SimilarityResult = similarity(
        moved, layer=chosen, head=result.head, ln_eps=result.ln_eps, raw=False
    )
    return again


def _grid_of(pe: PositionEmbedding) -> tuple[int, ...]:
    """Return (H, W), or (T, H, W) of frames that stand side by side."""
    table = pe.tables[0]
    height, width = table.grid_size[-2:]
    frames = table.num_frames
    return (height, width) if frames == 1 else (frames, height, width // frames)


def _resampling_notes(
    before: Sequence[SimilarityResult], labels: Sequence[str], grid: tuple[int, ...]
) -> list[str]:
    target = grid_words(grid)
    moved = [(name, _grid_of(one.pe)) for one, name in zip(before, labels)]
    return [
        f"{name} was resampled from {grid_words(own)} to {target} patches by its own library's rule"
        for name, own in moved
        if own != grid
    ]


def _matched_layers(depths: Sequence[int]) -> tuple[tuple[int, ...], ...]:
    """Return, for each depth, as many evenly spaced places as the shallowest has layers."""
    count = min(depths)
    spaced = (np.linspace(0, depth - 1, count).round().astype(int) for depth in depths)
    return tuple(tuple(int(place) for place in places) for places in spaced)


def _unmatched(
    results: Sequence[Any], layers: Sequence[tuple[int, ...]], labels: Sequence[str]
) -> list[str]:
    return [
        f"shown of {name}: {len(places)} of {len(result.views)} layers, at the same depth as the "
        "others'"
        for result, places, name in zip(results, layers, labels)
        if len(places) < len(result.views)
    ]


def _scale_of(result: SimilarityResult) -> float | str:
    """Return what two maps must share to be subtracted: their bounds, or the quantity itself."""
    return result.affinity.limit or result.affinity.name


def _shown_head(result: SimilarityResult, alike: Affinity) -> int | None:
    return 0 if alike.num_heads == 1 else result.head
