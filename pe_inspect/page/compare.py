"""Several subjects → the section `compare`: linked maps on one grid and one scale, and deltas."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

from pe_inspect.errors import UndecidedGrid, UsageError
from pe_inspect.page.content import Definition, Picture, Section, Table
from pe_inspect.page.frames import head_names, similarity_frames
from pe_inspect.page.pictures import picture
from pe_inspect.page.subjects import NotAsked, Subject
from pe_inspect.page.views import Frame, Track, View

if TYPE_CHECKING:
    from pe_inspect.analysis.compare import CompareResult
    from pe_inspect.analysis.similarity import SimilarityResult
    from pe_inspect.analysis.structure import StructureResult

__all__ = ["compare"]

_READING: Final = (
    "A column is a depth, a row a checkpoint; all maps share one scale, so that equal colours are "
    "equal values. In the view, pick a patch: its map is drawn for every checkpoint, and the "
    "difference of two checkpoints is their values subtracted, patch by patch. A high correlation "
    "with a large difference means the same pattern at another strength. CKA and the aligned "
    "distance compare the tables themselves, whose channels mean nothing to each other before "
    "they are aligned. A delta is a checkpoint's number less that of the first; none is better or "
    "worse."
)
_CAVEATS: Final = (
    "Checkpoints are compared as they are: other data, other training and other patch sizes differ "
    "too, and nothing here says which of them makes the difference.",
    "A resampled embedding has been smoothed or sharpened by its rule: compare fine detail at the "
    "native grid.",
)
_SOURCE: Final = (
    "Kornblith et al., ICML 2019 (CKA); Song et al., JMLR 2012, Eq. 5 (HSIC₁); Williams et al., "
    "NeurIPS 2021 (aligned distance)"
)
_FORMULA: Final = "CKA = ‖AᵀB‖² / (‖AᵀA‖ ‖BᵀB‖), A and B centred"
_PAIR: Final = {
    "correlation": "correlation",
    "map_difference": "difference",
    "cka": "CKA",
    "cka_unbiased": "CKA, unbiased",
    "procrustes": "aligned distance",
}
"""Number of a pair → the head of its column."""


def compare(subjects: Sequence[Subject]) -> Section | None:
    """Return the section, or `None` where no two subjects have maps that can be compared."""
    found = [(subject, maps) for subject in subjects if (maps := _maps_of(subject))]
    if len(found) < 2:
        return None
    from pe_inspect.analysis.compare import compare as side_by_side

    labels = [subject.label for subject, _ in found]
    known = [_indices_of(subject) for subject, _ in found]
    try:
        result: CompareResult = side_by_side([maps for _, maps in found], labels, structures=known)
    except UsageError:
        return None
    return _section(result, [found[place][0] for place in result.side.places])


def _maps_of(subject: Subject) -> SimilarityResult | None:
    try:
        result: SimilarityResult = subject.ask("similarity")
    except (NotAsked, UsageError, UndecidedGrid):
        return None
    return result if hasattr(result, "affinities") else None


def _indices_of(subject: Subject) -> StructureResult | None:
    try:
        result: StructureResult = subject.ask("structure")
    except (NotAsked, UsageError, UndecidedGrid):
        return None
    return result


def _section(result: CompareResult, subjects: Sequence[Subject]) -> Section:
    from pe_inspect.figures.compare import told_notions

    side = result.side
    return Section(
        stem="compare",
        title="Side by side",
        question="What do they have in common?",
        finding=result.finding,
        figures=tuple(_figures(result, subjects[0].dpi)),
        how_to_read=f"{_READING} {told_notions(side)}",
        definition=_definition(result),
        tables=(_pairs(result), _deltas(result), _by_depth(result)),
        caveats=_CAVEATS if any("resampled" in note for note in side.notes) else _CAVEATS[:1],
        notes=result.notes,
        views=(_linked_view(result, subjects),) if len(side.drawn) > 1 else (),
    )


def _figures(result: CompareResult, dpi: int | None) -> Iterator[Picture]:
    from pe_inspect.figures import drawings

    for stem, drawn in drawings["compare"](result).items():
        yield picture(drawn, stem, alt=result.finding, dpi=dpi)


def _definition(result: CompareResult) -> Definition:
    affinity = result.side.results[0].affinity
    height, width = result.grid_size
    text = (
        f"{affinity.sentence} Every embedding is asked on {height}×{width} patches; layers are "
        "matched by their relative depth."
    )
    terms = tuple((head, result.definitions[name]) for name, head in _PAIR.items())
    return Definition(text, _FORMULA, _SOURCE, terms)


def _pairs(result: CompareResult) -> Table:
    columns = ("a", "b", *_PAIR.values(), "correlation, first layer", "last layer")
    rows: tuple[tuple[Any, ...], ...] = tuple(
        (row["first"], row["second"], *(row[name] for name in _PAIR),
         one.correlations[0], one.correlations[-1])
        for row, one in zip(result.rows(), result.likenesses)
    )  # fmt: skip
    return Table("how alike they are, two by two", columns, rows, "compare")


def _deltas(result: CompareResult) -> Table:
    """Every number of the first, and what the others have more."""
    columns = ("number", "unit", result.labels[0], *(f"{name}: Δ" for name in result.labels[1:]))
    rows: tuple[tuple[Any, ...], ...] = tuple(
        (index.words, index.unit, result.numbers[0][name],
         *(one.change for one in result.deltas if one.name == name))
        for name, index in result.indices.items()
    )  # fmt: skip
    return Table(f"numbers, less those of {result.labels[0]}", columns, rows, "compare_deltas")


def _by_depth(result: CompareResult) -> Table:
    """Each embedding's own numbers, one row a matched depth."""
    names = ("layer", "neighbours", "far")
    columns = ("depth", *(f"{label}: {name}" for label in result.labels for name in names))
    places = range(len(result.labels))
    rows: tuple[tuple[Any, ...], ...] = tuple(
        (depth + 1, *(cell for place in places for cell in _cells(result, place, depth)))
        for depth in range(len(result.side.layers[0]))
    )
    return Table("likeness by depth, side by side", columns, rows, "compare_by_depth")


def _cells(result: CompareResult, place: int, depth: int) -> tuple[str, float, float]:
    layer = result.side.layers[place][depth]
    maps = result.side.results[place]
    numbers = maps.statistics[layer]
    return maps.layer_names[layer], numbers.neighbours, numbers.far


def _linked_view(result: CompareResult, subjects: Sequence[Subject]) -> View:
    side = result.side
    drawn = [(subjects[k], side.results[k], side.layers[k]) for k in side.drawn]
    affinity = drawn[0][1].affinity
    tracks = [
        Track(subject.label, tuple(frames[place] for place in places))
        for (subject, _, places), frames in zip(drawn, _frames_of_each(drawn))
    ]
    return View(
        "compare", "compare-view", "The same patch in every checkpoint", "layer", tuple(tracks),
        affinity.name, affinity.limit, head_names=_head_names([maps for _, maps, _ in drawn]),
    )  # fmt: skip


def _head_names(results: Sequence[SimilarityResult]) -> tuple[str, ...]:
    """The names of the heads, where all have the same."""
    found = {head_names(result.pe) for result in results}
    return found.pop() if len(found) == 1 else ()


def _frames_of_each(drawn: Sequence[tuple[Subject, Any, Any]]) -> Iterator[tuple[Frame, ...]]:
    """The frames of each subject's own view, or those of the resampled embedding."""
    for subject, result, _ in drawn:
        own = result is subject.results.get("similarity")
        yield subject.frames() if own else similarity_frames(result)
