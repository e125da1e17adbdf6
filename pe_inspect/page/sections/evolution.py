"""The section `evolution`: how did the embedding come to be?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final

import numpy as np

from pe_inspect.kinds.parts import Beginning
from pe_inspect.page.content import Definition, Fact, Section
from pe_inspect.page.frames import frame_of
from pe_inspect.page.result_parts import defined, parameters_of, pictures, table_of
from pe_inspect.page.sections import sections
from pe_inspect.page.subjects import Subject
from pe_inspect.page.tables import evenly
from pe_inspect.page.views import Frame, Track, View

if TYPE_CHECKING:
    from pe_inspect.analysis.evolution import EvolutionResult
    from pe_inspect.kinds.affinity import Affinity

_MOST_MAPS: Final = 48  # two layers of 24 epochs
_MOST_OF_14: Final = 24  # maps of a 14×14 grid, 0.55 MB; fewer on a larger one
_MOST_LAYERS: Final = 2
_PAIRS: Final = 196 * 196
_BEGINS: Final[Mapping[Beginning, str]] = {
    "random": "A random table has maps without a pattern: only the patch itself stands out. "
    "Structure is there once the map of a patch shows its surroundings. ",
    "rule": "The maps of this scheme have a pattern before any training, because a rule gives it: "
    "look for what training changes in it. ",
    "form": "What is learned here usually begins as random numbers or zeros. A pattern in the "
    "first maps comes from the form of the scheme, such as one value for all pairs of an offset: "
    "look for what training adds to it. ",
}
_READING: Final = (
    "It is settled once the curve of likeness to the last snapshot is flat. In the view, the "
    "slider goes over snapshots, and play runs through them."
)
_WRITES_ALL: Final = (
    "pe-inspect evolution DIR --save-data writes the numbers and one patch's maps of all"
)
_CAVEATS: Final = (
    "Likeness to the last snapshot says when a run came to rest, not whether it came to rest where "
    "another run would.",
    "Between two snapshots anything may have happened: only what was saved is shown.",
)
_SOURCE: Final = "arXiv:2010.11929 (ViT), Fig. 7 centre, one a snapshot; Pearson's r of its maps"


@sections.register("evolution")
def evolution(subject: Subject) -> Section:
    """Word a run: where its maps begin, where they end, and when they settle."""
    result: EvolutionResult = subject.handed_in("evolution")
    finding = result.finding
    return Section(
        stem="evolution",
        title="Evolution",
        question="How did it come to be?",
        finding=finding,
        figures=pictures(result, finding, headline=result.pe.headline, dpi=subject.dpi),
        how_to_read=_reading(result),
        definition=_definition(result),
        tables=(table_of("the run, snapshot by snapshot", result.rows(), "evolution"),),
        facts=_facts(result),
        caveats=_CAVEATS,
        notes=result.notes,
        parameters=parameters_of(result),
        views=(_view_of_epochs(result),),
    )


def _reading(result: EvolutionResult) -> str:
    return _BEGINS[result.pe.facts.begins] + _READING


def _definition(result: EvolutionResult) -> Definition:
    terms = tuple(result.definitions.items())
    return Definition(result.affinity.sentence, "", _SOURCE, terms)


def _facts(result: EvolutionResult) -> tuple[Fact, ...]:
    numbers = result.summary()
    return defined(
        Fact("Snapshots", len(result.epochs), f"epochs {result.epochs[0]} to {result.epochs[-1]}"),
        Fact("Settled at", numbers["settled_at"], "epoch; maps correlate ≥ 0.95 with the last"),
        Fact("Structure by", numbers["appears_last"], "epoch; half of the way in the latest layer"),
    )


def _view_of_epochs(result: EvolutionResult) -> View:
    layers = evenly(len(result.views), _MOST_LAYERS)
    largest = max(view.num_patches for view in result.views) ** 2
    each = max(int(min(_MOST_MAPS, _MOST_OF_14 * _PAIRS / largest)) // len(layers), 2)
    epochs = evenly(len(result.epochs), each)
    tracks = tuple(
        Track(view.name, tuple(_frames_of_epochs(result, epochs, alike, view.grid_size)))
        for k, (view, alike) in enumerate(result.layers())
        if k in layers
    )
    centre, limit = result.scale
    return View(
        "evolution", "evolution-view", "The maps, epoch by epoch", "epoch", tracks,
        result.affinity.name, result.affinity.limit or limit + abs(centre), "layer",
        result.similarities[-1].token, len(epochs) - 1, _notes_on_thinning(result, epochs, layers),
    )  # fmt: skip


def _frames_of_epochs(
    result: EvolutionResult,
    epochs: Sequence[int],
    alike: Sequence[Affinity],
    grid_size: tuple[int, int],
) -> Iterator[Frame]:
    from pe_inspect.kinds.affinity import Values

    head = result.similarities[-1].head
    for place in epochs:
        one = alike[place]
        if one.num_heads > 1 and head is None:
            one = Values(np.asarray(one.map(None))[None])
        heads = None if head is None or one.num_heads == 1 else [head]
        yield frame_of(f"epoch {result.epochs[place]}", one, grid_size, heads=heads)


def _notes_on_thinning(
    result: EvolutionResult, epochs: Sequence[int], layers: Sequence[int]
) -> tuple[str, ...]:
    counts = (
        (len(epochs), len(result.epochs), "snapshots"),
        (len(layers), len(result.views), "layers"),
    )
    said_so = [f"{shown} of {of} {what} are in the view, evenly spaced"
               for shown, of, what in counts if shown < of]  # fmt: skip
    said_so += [_WRITES_ALL] * bool(said_so)
    has_heads = max(view.num_heads for view in result.views) > 1
    is_mean = has_heads and result.similarities[-1].head is None
    return (*said_so, *(["The maps are means over heads"] if is_mean else []))
