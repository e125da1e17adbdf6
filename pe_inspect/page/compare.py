"""Several subjects → the section `compare`: linked maps on one grid and one scale."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

from pe_inspect.analysis.common.sentences import number_text
from pe_inspect.errors import UndecidedGrid, UsageError
from pe_inspect.page.content import Definition, Picture, Section, Table
from pe_inspect.page.frames import head_names, similarity_frames
from pe_inspect.page.pictures import picture
from pe_inspect.page.subjects import NotAsked, Subject
from pe_inspect.page.views import Frame, Track, View

if TYPE_CHECKING:
    from pe_inspect.analysis.compare import Comparison
    from pe_inspect.analysis.similarity import SimilarityResult

__all__ = ["compare"]

_READING: Final = (
    "A column is a depth, a row a checkpoint; all maps share one scale, so that equal colours are "
    "equal values. In the view, pick a patch: its map is drawn for every checkpoint, and the "
    "difference of two checkpoints is their values subtracted, patch by patch. A high correlation "
    "with a large difference means the same pattern at another strength."
)
_CAVEATS: Final = (
    "Checkpoints are compared as they are: other data, other training and other patch sizes differ "
    "too, and nothing here says which of them makes the difference.",
    "A resampled embedding has been smoothed or sharpened by its rule: compare fine detail at the "
    "native grid.",
)
_TERMS: Final = (
    ("correlation", "Pearson's, of the two maps over all pairs of different patches; mean of "
     "the matched layers, and of the first and the last of them"),
    ("difference", "mean of |a − b| over all pairs, matched layer by layer; on the maps' scale"),
)  # fmt: skip


def compare(subjects: Sequence[Subject]) -> Section | None:
    """Return the section, or `None` where no two subjects have maps of one quantity."""
    found = [(subject, result) for subject in subjects if (result := _maps_of(subject))]
    if len(found) < 2:
        return None
    from pe_inspect.analysis.compare import compare as side_by_side

    labels = [subject.label for subject, _ in found]
    side = side_by_side([result for _, result in found], labels)
    return None if side is None else _section(side, [found[place][0] for place in side.places])


def _maps_of(subject: Subject) -> SimilarityResult | None:
    try:
        result: SimilarityResult = subject.ask("similarity")
    except (NotAsked, UsageError, UndecidedGrid):
        return None
    return result if hasattr(result, "affinities") else None


def _section(side: Comparison, subjects: Sequence[Subject]) -> Section:
    from pe_inspect.figures.compare import told_notions

    labels = [subject.label for subject in subjects]
    finding = _most_and_least_alike(side, labels)
    return Section(
        stem="compare",
        title="Side by side",
        question="What do they have in common?",
        finding=finding,
        figures=_figures(side, labels, finding, subjects[0].dpi),
        how_to_read=f"{_READING} {told_notions(side, labels)}",
        definition=_likeness_definition(side),
        tables=(_likeness_table(side, labels), _by_depth(side, labels)),
        caveats=_CAVEATS if any(_is_resampled(side)) else _CAVEATS[:1],
        notes=side.notes,
        views=(_linked_view(side, subjects),),
    )


def _is_resampled(side: Comparison) -> list[bool]:
    return ["resampled" in note for note in side.notes]


def _figures(
    side: Comparison, labels: Sequence[str], seen: str, dpi: int | None
) -> tuple[Picture, ...]:
    from pe_inspect.figures.compare import draw_compare

    return (picture(draw_compare(side, labels), "compare", alt=seen, dpi=dpi),)


def _likeness_definition(side: Comparison) -> Definition:
    affinity = side.results[0].affinity
    height, width = side.grid_size
    text = (
        f"{affinity.sentence} Every embedding is asked on {height}×{width} patches; layers are "
        "matched by their relative depth."
    )
    return Definition(text, "r = cov(A, B) / (σ_A σ_B), over the entries off the diagonal",
                      "as in the section on similarity of each", _TERMS)  # fmt: skip


def _most_and_least_alike(side: Comparison, labels: Sequence[str]) -> str:
    alike = [(_mean(each.correlations), each) for each in side.likenesses]
    known = sorted((pair for pair in alike if not math.isnan(pair[0])), key=lambda pair: pair[0])
    if not known:
        return "No two of the embeddings have maps whose correlation is defined."
    (least, lowest), (most, highest) = known[0], known[-1]
    best = f"{labels[highest.first]} and {labels[highest.second]}"
    apart = number_text(_mean(highest.differences), on_a_scale=side.scale[1] <= 1)
    alike_by = f"correlate at {number_text(most)} on average over layers and differ by {apart}"
    text = f"The maps of {best} {alike_by}"
    if lowest is highest:
        return f"{text}."
    other = f"{labels[lowest.first]} and {labels[lowest.second]}"
    return f"Most alike: {text[0].lower()}{text[1:]}; least: {other}, at {number_text(least)}."


def _likeness_table(side: Comparison, labels: Sequence[str]) -> Table:
    columns = ("a", "b", "correlation", "in the first layer", "in the last layer", "difference")
    return Table("how alike the maps are", columns, tuple(_likeness_rows(side, labels)), "compare")


def _likeness_rows(side: Comparison, labels: Sequence[str]) -> Iterator[tuple[Any, ...]]:
    for each in side.likenesses:
        values = each.correlations
        numbers = (_mean(values), values[0], values[-1], _mean(each.differences))
        yield (labels[each.first], labels[each.second], *numbers)


def _by_depth(side: Comparison, labels: Sequence[str]) -> Table:
    """Each embedding's own numbers, one row a matched depth."""
    names = ("layer", "neighbours", "far")
    columns = ("depth", *(f"{label}: {name}" for label in labels for name in names))
    rows = tuple(
        (depth + 1, *(cell for k in range(len(labels)) for cell in _cells(side, k, depth)))
        for depth in range(len(side.layers[0]))
    )
    return Table("likeness by depth, side by side", columns, rows, "compare_by_depth")


def _cells(side: Comparison, place: int, depth: int) -> tuple[str, float, float]:
    layer = side.layers[place][depth]
    result = side.results[place]
    numbers = result.statistics[layer]
    return result.layer_names[layer], numbers.neighbours, numbers.far


def _mean(values: Sequence[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return sum(known) / len(known) if known else math.nan


def _linked_view(side: Comparison, subjects: Sequence[Subject]) -> View:
    affinity = side.results[0].affinity
    tracks = [
        Track(subject.label, tuple(frames[place] for place in places))
        for subject, places, frames in zip(subjects, side.layers, _frames_of_each(side, subjects))
    ]
    return View(
        "compare", "compare-view", "The same patch in every checkpoint", "layer", tuple(tracks),
        affinity.name, affinity.limit, head_names=_head_names(side),
    )  # fmt: skip


def _head_names(side: Comparison) -> tuple[str, ...]:
    """The names of the heads, where all have the same."""
    found = {head_names(result.pe) for result in side.results}
    return found.pop() if len(found) == 1 else ()


def _frames_of_each(side: Comparison, subjects: Sequence[Subject]) -> Iterator[tuple[Frame, ...]]:
    """The frames of each subject's own view, or those of the resampled embedding."""
    for subject, result in zip(subjects, side.results):
        own = result is subject.results.get("similarity")
        yield subject.frames() if own else similarity_frames(result)
