"""The section `interpolate`: what becomes of the embedding at another resolution?"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from pe_inspect.analysis.common.selection import views_of
from pe_inspect.kinds.all_kinds import (
    BIAS,
    COMPUTED_BIAS,
    PHASES,
    RELATIVE,
    RESPONSE,
    VECTORS,
    SchemeKind,
)
from pe_inspect.kinds.joins import SchemeJoin
from pe_inspect.page.content import Definition, Fact, Section
from pe_inspect.page.result_parts import defined, parameters_of, pictures, table_of
from pe_inspect.page.sections import sections
from pe_inspect.page.subjects import Subject
from pe_inspect.page.views import Frame, View

if TYPE_CHECKING:
    from pe_inspect.analysis.interpolate import InterpolationResult
    from pe_inspect.kinds.position_embedding import PositionEmbedding

# From 224 to 384 pixels, the field's most common step: 14 → 24 patches of 16, windows 7 → 12.
_STEP: Final = (12, 7)
_MOST_PATCHES: Final = 784  # 28×28; the map of more is not worth its bytes in every report
_ERRORS: Final = (
    " The error map shows where the way there and back does not return to the stored table; at the "
    "edge a resampler has no neighbours on one side, so errors gather there."
)


class _Words(NamedTuple):
    """What is true of resampled tables, which depends on how the model uses them.

    Attributes:
        fits: what a method keeps that fits.
        stored: what happens to a table after it was resampled.
        shown: what the view shows.
    """

    fits: str
    stored: str
    shown: str = "Tables are shown as stored, before any norm"


_ADDED: Final = _Words(
    "A method that fits leaves the length of rows and the likeness of neighbours as they were: "
    "shorter rows weaken position against content in every layer that follows.",
    "Tables are resampled as stored, as models do it; the norms of the layers act on the sum of "
    "content and position.",
)
_NORMED: Final = _Words(
    "A method that fits leaves the likeness of neighbours as it was. The length of rows counts for "
    "less: a norm afterwards evens it out.",
    "Tables are resampled as stored, before the norms of the layers, as models do it.",
)
_NORMED_BIAS: Final = _Words(
    "A method that fits leaves the pattern of a bias as it was. Its size counts for less: the norm "
    "over the keys afterwards evens it out.",
    "Tables are resampled as stored, before the norm over the keys.",
)
_BIAS: Final = _Words(
    "A method that fits leaves the size of biases as it was: smaller ones weaken position against "
    "content in their layer.",
    "Tables are resampled as stored, as models do it; no norm acts on them.",
    "Tables are shown as stored; no norm acts on them",
)
_INSIDE: Final = _Words(
    "A method that fits leaves the length of vectors as it was: shorter ones weaken position "
    "against content in their layer.",
    *_BIAS[1:],
)
_READING_ANGLES: Final = (
    "Angles are functions of the position, so that every rule gives a whole embedding, and none is "
    "nearer to the truth. Rules that go on keep the likeness of patches so many steps apart; rules "
    "that rescale keep the likeness of places so far apart on the image."
)
_READING_NETWORK: Final = (
    "The network is a function of the offset: asked for another window, it gives a bias to places "
    "that it never saw together. Where a map keeps its shape, the network carries over; where its "
    "ends run away, it extrapolates. Methods that resample read between the values of the old "
    "window. Asked for the old window again, the network gives what it gave: its way back loses "
    "nothing by construction, and only that of the other methods says something."
)
_EXTRAPOLATES: Final = (
    "The network was trained on the offsets of one window: how it goes on beyond them was never "
    "put to a test, and the numbers here are none of the model's accuracy."
)
_UNTRAINED: Final = (
    "Which of the two a model needs depends on how it was trained: the numbers here cannot tell."
)
_HOW_OF_TABLES: Final = (
    "Each stored table is laid out on its grid and resampled channel by channel; prefix rows are "
    "kept. A bias is resampled as a table of offsets, relative vectors along their axis."
)
_INVERTIBLE: Final = (
    "A small round-trip error says that the method can be undone, not that a model keeps its "
    "accuracy on the larger grid."
)


class _Wording(NamedTuple):
    """How the section is worded for a kind.

    Attributes:
        words: what is true of its tables, by how the model uses them.
        reading: how to read the numbers; empty where `words` say it.
        how: how tables are resampled.
        caveats: what the numbers do not say; empty where `words` say it.
        shown: what the view shows; empty where `words` say it.
        methods: the methods that a page shows.
        subject: what has a size, and what that is called: of values, and of the mean norm.
    """

    words: Callable[[SchemeJoin], _Words]
    reading: str = ""
    how: str = _HOW_OF_TABLES
    caveats: tuple[str, ...] = ()
    shown: str = ""
    methods: str = "native,bilinear,bicubic"
    subject: tuple[str, str, str] = ("rows", "length", "row norm")


def _of_vectors(join: SchemeJoin) -> _Words:
    if join.in_attention:
        return _INSIDE
    return _NORMED if join.is_recurrent else _ADDED


def _of_bias(join: SchemeJoin) -> _Words:
    return _NORMED_BIAS if join.is_recurrent else _BIAS


def _of_inside(join: SchemeJoin) -> _Words:  # noqa: ARG001
    return _INSIDE


_SIZES: Final = ("biases", "size", "norm over heads")
_WORDING: Final[Mapping[SchemeKind, _Wording]] = {
    VECTORS: _Wording(_of_vectors),
    BIAS: _Wording(_of_bias, subject=_SIZES),
    PHASES: _Wording(
        _of_inside,
        _READING_ANGLES,
        "The slopes of the angles are read back from the table and evaluated at the new positions.",
        (_UNTRAINED,),
        "Angles are computed anew on each grid",
        "native,extrapolate,rescale,normalised",
    ),
    RELATIVE: _Wording(_of_inside),
    RESPONSE: _Wording(_of_inside),  # never resampled: it is computed from the input
    COMPUTED_BIAS: _Wording(
        _of_bias,
        _READING_NETWORK,
        "The network is asked for every offset of the new window. Other methods resample what it "
        "gave for the old window, as a table of offsets.",
        (_EXTRAPOLATES,),
        "The values are those of the network, or of a method that resamples them",
        subject=_SIZES,
    ),
}


@sections.register("interpolate")
def interpolate(subject: Subject) -> Section:
    """Word what the chosen method keeps: length of rows, likeness of neighbours, the way back."""
    chosen = subject.options.get("interpolate", {})
    has_target = "res" in chosen or "grid" in chosen
    target = {} if has_target else {"grid": _larger_grid(subject.embedding)}
    kind = subject.embedding.scheme_kind if subject.embedding else VECTORS
    result: InterpolationResult = subject.ask(
        "interpolate", method=_WORDING[kind].methods, **target
    )
    finding, wording, words = result.finding, _wording(result.pe), _words_on_use(result.pe)
    return Section(
        stem="interpolate",
        title="Interpolation",
        question="What becomes of it at another resolution?",
        finding=finding,
        figures=pictures(result, finding, headline=result.pe.headline, dpi=subject.dpi),
        how_to_read=wording.reading or words.fits + _ERRORS,
        definition=_definition(result),
        tables=(table_of("resampling by method and table", _method_rows(result), "interpolate"),),
        facts=_facts(result),
        caveats=wording.caveats or (words.stored, _INVERTIBLE),
        notes=result.notes,
        parameters=parameters_of(result),
        views=_views(result, subject.encoded or ()),
    )


def _words_on_use(pe: PositionEmbedding) -> _Words:
    """Return what holds for tables that are added, added through a norm, or used in attention."""
    return _wording(pe).words(pe.scheme_join)


def _wording(pe: PositionEmbedding) -> _Wording:
    return _WORDING[pe.scheme_kind]


def _views(result: InterpolationResult, like: Sequence[Frame]) -> tuple[View, ...]:
    """The first layer on several grids by every method."""
    from pe_inspect.analysis.interpolate import interpolate as ask
    from pe_inspect.page.frames import head_names, resampled_tracks

    pe, methods = result.pe, ",".join(result.methods)
    asked = {result.grid_size: result}
    for grid in _grids_to_explore(pe, result.grid_size):
        if grid not in asked:
            asked[grid] = ask(pe, grid=grid, method=methods)
    ordered = [asked[grid] for grid in sorted(asked, key=lambda grid: (grid[0] * grid[1], grid))]
    quantity, where = pe.affinity, ordered.index(result)
    title = "Every patch with every other, on several grids"
    tracks = resampled_tracks(ordered, like=like)
    notes = _about_tables(result)
    return (
        View(
            "resolution", "resolution-view", title, "grid", tracks, quantity.name, quantity.limit,
            track_word="method", start=where, notes=notes, head_names=head_names(pe),
        ),
    )  # fmt: skip


def _grids_to_explore(pe: PositionEmbedding, target: tuple[int, int]) -> list[tuple[int, int]]:
    """The grid of the file, one between it and the target, and twice it, if they are not large."""
    rows, columns = pe.grid_size
    between = (round((rows + target[0]) / 2), round((columns + target[1]) / 2))
    found = [(rows, columns), between, (2 * rows, 2 * columns)]
    return [grid for grid in found if grid[0] * grid[1] <= max(_MOST_PATCHES, rows * columns)]


def _about_tables(result: InterpolationResult) -> tuple[str, ...]:
    pe = result.pe
    names = [one.name for one in (views_of(pe) if pe.scheme_kind.has_parts else pe.tables)]
    how = _wording(pe).shown or _words_on_use(pe).shown
    return (how,) if len(names) == 1 else (f"Shown is {names[0]}, one of {len(names)}", how)


def _larger_grid(pe: PositionEmbedding | None) -> tuple[int, ...] | None:
    """A grid of rows and columns one step larger; `None` where the embedding has no such grid."""
    grid = pe.grid_size if pe is not None and pe.tables else None
    if grid is None or len(grid) != 2:
        return None
    many, few = _STEP
    return tuple(max(1, round(side * many / few)) for side in grid)


def _definition(result: InterpolationResult) -> Definition:
    from pe_inspect.analysis.interpolate import METHODS

    return Definition(
        _wording(result.pe).how,
        source="the library that each method is named after",
        terms=(
            *((f"method {name}", METHODS[name]) for name in result.methods),
            *result.defined().items(),
        ),
    )


def _method_rows(result: InterpolationResult) -> Iterator[dict[str, Any]]:
    for method in result.methods:
        for table in result.tables(method):
            yield {"method": method, "table": table.layer, **table.measures}


def _facts(result: InterpolationResult) -> tuple[Fact, ...]:
    numbers = result.summary()
    rows, columns = result.grid_size
    where = f"at {rows}×{columns}, {result.method}"
    if result.pe.scheme_kind.holds_angles:
        after = numbers["neighbour_cosine_after"]
        return defined(Fact("Neighbours on a new grid", after, f"mean phase cosine; {where}"))
    _, _, norm = _wording(result.pe).subject
    kept = Fact("Length kept", numbers["norm_ratio"], f"mean {norm}, after / before; {where}")
    lost = Fact("Round-trip error", numbers["round_trip_error"], f"of the mean {norm}; {where}")
    return defined(kept) if result.is_asked_anew else defined(kept, lost)
