"""The section `similarity`: how alike are positions, in every layer?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, NamedTuple

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
from pe_inspect.page.frames import head_names
from pe_inspect.page.result_parts import defined, parameters_of, pictures, table_of
from pe_inspect.page.sections import sections
from pe_inspect.page.subjects import Subject
from pe_inspect.page.views import Track, View

if TYPE_CHECKING:
    from pe_inspect.analysis.similarity import SimilarityResult

_ORDER: Final = ("similarity_fig7", "similarity_query", "similarity")
_FINEST: Final = 64  # the views show every value; 12 maps of 98×98 values are 0.1 MB as an image
_NOTIONS: Final = {
    "joined": "Joined maps show what the model itself computes for that layer.",
    "proxy": (
        "Proxy maps show LN1 of each layer applied to the table: no layer sees exactly "
        "that, because norm1 acts on the sum of content and position."
    ),
    "stored": "Stored maps show the tables as the file holds them, before any norm.",
}
_COMPUTED: Final = "The maps show the table as computed, not stored: the file holds no such table."
_TERMS: Final = (
    ("notion, norm", "how the table comes to be what the layer receives, and the norm applied"),
    ("minimum, maximum, mean", "over all pairs of different patches"),
    ("neighbours", "mean over patches that share an edge"),
    ("far", "mean over patches at least half the grid apart"),
    ("num_undefined", "patches with a zero row or a value that is not finite"),
    ("correlation_to_previous", "Pearson's, of the map with that of the layer before"),
)


class _Words(NamedTuple):
    """How the maps of a kind are worded.

    Attributes:
        source: where its affinity is defined.
        alike: what it means that two positions are alike.
        stored: what maps without a norm show.
        falls: what a round spot in the map of one patch means.
        resemble: what the bands of the maps of pairs are.
        subject: what the numbers are of.
    """

    source: str
    alike: str
    stored: str = _NOTIONS["stored"]
    falls: str = "likeness falls with distance"
    resemble: str = "patches that resemble those above and below"
    subject: str = "Likeness"


_OF_PAIRS: Final = "pairs of a patch with the one above or below it"
_OF_BIAS: Final = _Words(
    "the model's own attention logits; LaPE (ICCV 2023), §3.4, for normalised biases",
    "Pairs of one bias have the same number added to their attention logits",
    falls="the bias depends on distance alone",
    resemble=_OF_PAIRS,
    subject="Bias",
)
_OF_FUNCTION: Final = "the model's own network, asked for the stated grid"
_WORDS: Final[Mapping[SchemeKind, _Words]] = {
    VECTORS: _Words(
        "arXiv:2010.11929 (ViT), Fig. 7 centre; LaPE (ICCV 2023), Eq. 9–12 and §3.4",
        "Positions that are alike are added alike",
    ),
    BIAS: _OF_BIAS,
    PHASES: _Words(
        "arXiv:2104.09864 (RoFormer), §3.2: rotations enter attention by their difference",
        "Positions that are alike rotate queries and keys alike",
        "The maps compare the angles that the file gives each place; no norm acts on them.",
        falls="the cosine falls with distance",
    ),
    RELATIVE: _Words(
        "arXiv:1803.02155 (Shaw et al.), Eq. 3–4",
        "Pairs that are alike use the same relative vector",
        "The maps compare the stored vectors of offsets; no norm acts on them.",
        resemble=_OF_PAIRS,
    ),
    RESPONSE: _Words(_OF_FUNCTION, "Positions that are alike have the same value of the function"),
    COMPUTED_BIAS: _OF_BIAS._replace(source=_OF_FUNCTION),
}
_RECURRENCE: Final = "ω_l = LN_l(ω_(l−1)), where ω before the first block is the stored table"


@sections.register("similarity")
def similarity(subject: Subject) -> Section:
    """Word the maps: neighbours against far patches, first layer against last."""
    result: SimilarityResult = subject.ask("similarity")
    finding = result.finding
    return Section(
        stem="similarity",
        title="Similarity",
        question="How alike are positions, in every layer?",
        finding=finding,
        figures=pictures(
            result,
            finding,
            first=_ORDER,
            headline=result.pe.headline,
            dpi=subject.dpi,
            finest=_FINEST,
        ),
        how_to_read=_reading(result),
        definition=_definition(result),
        tables=(table_of("similarity by layer", result.rows(), "similarity"),),
        facts=_facts(result),
        caveats=_caveats(result),
        notes=result.notes,
        parameters=parameters_of(result),
        views=(_view_of_layers(subject, result),),
    )


def _view_of_layers(subject: Subject, result: SimilarityResult) -> View:
    track = Track(subject.label, subject.frames())
    title = "Every patch with every other, in every layer"
    name, limit = result.affinity.name, result.affinity.limit
    return View(
        "similarity", "similarity-view", title, "layer", (track,), name, limit,
        token=result.token, head_names=head_names(result.pe),
    )  # fmt: skip


def _words(result: SimilarityResult) -> _Words:
    return _WORDS[result.pe.scheme_kind]


def _caveats(result: SimilarityResult) -> tuple[str, str]:
    return (
        f"{_words(result).alike}; that the model treats them alike does not follow.",
        "The numbers describe the embedding; neither high nor low is better.",
    )


def _reading(result: SimilarityResult) -> str:
    columns = result.grid_size[1]
    notions = dict.fromkeys(view.notion for view in result.views)
    words = _words(result)
    texts = {**_NOTIONS, "stored": words.stored if result.pe.stored else _COMPUTED}
    return " ".join(texts[notion] for notion in notions) + (
        " In the maps of pairs the diagonal is each patch with itself; bands parallel to it, "
        f"{columns} pixels (one row of the grid) away, are {words.resemble}. "
        f"In the map of one patch, a round spot means that {words.falls}, a cross "
        "that rows and columns are told apart, and an even colour that places are hardly told "
        "apart at all. Compare layers by shape: all share one scale."
    )


def _definition(result: SimilarityResult) -> Definition:
    pe = result.pe
    formula = _formula(pe.scheme_join) if pe.scheme_kind.has_token_rows else ""
    source = pe.facts.source or _words(result).source
    return Definition(result.affinity.sentence, formula, source, _TERMS)


def _formula(join: SchemeJoin) -> str:
    """Write how a layer comes to its vectors; empty where nothing is done to them."""
    if join.is_recurrent:
        at_input = "; block 0 has the table at the input" if join.at_input else ""
        return _RECURRENCE + at_input
    table = "table_l" if join.has_table_per_block else "table"
    return f"ω_l = LN1_l({table}), a proxy" if join.at_input or join.in_blocks else ""


def _facts(result: SimilarityResult) -> tuple[Fact, ...]:
    numbers, name = result.summary(), result.affinity.name.removeprefix("mean ")
    layers, stored = int(numbers["num_undefined"]), int(numbers["num_undefined_raw"])
    missing = [Fact("Undefined patches", layers, "sum over layers")] if layers else []
    if stored:
        missing.append(Fact("Undefined stored rows", stored, "zero, or not finite"))
    what = _words(result).subject
    return defined(
        Fact(f"{what} of neighbours", numbers["neighbours"], f"mean {name}, all layers"),
        Fact(f"{what} far apart", numbers["far"], f"mean {name}, half the grid or more"),
        Fact("Layer to layer", numbers["correlation_to_previous"], "mean correlation of maps"),
        *missing,
    )
