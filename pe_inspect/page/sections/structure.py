"""The section `structure`: what do the maps look like, in numbers?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from pe_inspect.analysis.structure.baselines import BASELINES
from pe_inspect.analysis.structure.words import DEFINITIONS
from pe_inspect.page.content import Definition, Fact, Section
from pe_inspect.page.result_parts import defined, parameters_of, pictures, table_of
from pe_inspect.page.sections import sections
from pe_inspect.page.subjects import Subject

if TYPE_CHECKING:
    from pe_inspect.analysis.structure import StructureResult

_ORDER: Final = ("structure", "structure_indices", "structure_rotary", "structure_heads")
_SOURCE: Final = (
    "arXiv:2106.01950 (translation share), arXiv:2606.00124 (SSDC), "
    "arXiv:2010.11929, Fig. 7 and 10 (the pictures), arXiv:2403.13298 (frequencies of rotations)"
)
_READING: Final = (
    "A map by offset averages each layer's map over all pairs of patches that are as far apart, so "
    "that it shows what does not depend on where in the image a pair lies. Read an index beside "
    "its baselines: the same rows at other places, random numbers, and the fixed sine and cosine "
    "table of the same shape."
)
_ROTATIONS: Final = (
    " An angle that turns by more than half a turn from patch to patch cannot be told from a "
    "slower one on whole patches; on a larger grid it turns more often over the image."
)
_CAVEATS: Final = (
    "The indices describe the embedding without any image; neither high nor low is better.",
    "A word names the form of a layer's mean map by thresholds; maps near one are named as they "
    "fall.",
)


@sections.register("structure")
def structure(subject: Subject) -> Section:
    """Word the indices of the stored table and of each layer."""
    result: StructureResult = subject.ask("structure")
    finding, headline = result.finding, result.pe.headline
    return Section(
        stem="structure",
        title="Structure",
        question="What do the maps look like, in numbers?",
        finding=finding,
        figures=pictures(
            result, finding, first=_ORDER, headline=headline, dpi=subject.dpi, with_table=False
        ),
        how_to_read=_READING + (_ROTATIONS if result.rotations else ""),
        definition=_definition(result),
        tables=(
            table_of("structure by layer", _rows(result), "structure"),
            table_of("the stored table beside its baselines", result.baseline_rows()),
        ),
        facts=_facts(result),
        caveats=_CAVEATS,
        notes=result.notes,
        parameters=parameters_of(result),
    )


def _rows(result: StructureResult) -> list[Mapping[str, Any]]:
    words = [row.word.word if row.word else "" for row in result.all_rows]
    return [{"layer": row["layer"], "looks like": word, **row}
            for word, row in zip(words, result.rows())]  # fmt: skip


def _definition(result: StructureResult) -> Definition:
    words = {row.word.word for row in result.all_rows if row.word}
    said = [(word, text) for word, text in DEFINITIONS.items() if word in words]
    baselines = [(name, BASELINES[name]) for name in result.baselines]
    chance = ("chance", "what any values give on average, whatever they are")
    terms = (*result.defined().items(), *said, *baselines, chance)
    text = (
        f"{result.pe.affinity.sentence} Every index is of the mean map over heads, over defined "
        "pairs; those of a table are of its centred rows, without prefix tokens."
    )
    return Definition(text, "", _SOURCE, terms)


def _facts(result: StructureResult) -> tuple[Fact, ...]:
    numbers = result.summary()
    share = "translation_share"
    by_offset = [] if share in result.decided else [
        Fact("Explained by the offset", numbers[share], "share of the stored map's variance")
    ]  # fmt: skip
    turning = [Fact("Anisotropy", numbers["anisotropy"], "0: all directions, 1: one line")
               ] if "anisotropy" in numbers else []  # fmt: skip
    return defined(
        *_commonest_word(result),
        Fact("Affinity and nearness", numbers["ssdc_l1"], "rank correlation, stored table"),
        *by_offset,
        Fact("Half-radius", numbers["half_radius"], "patches, stored table"),
        Fact("Effective rank", numbers["effective_rank"], "directions, stored table"),
        *turning,
        Fact("Hierarchy", numbers["hierarchy"], "0: all layers have one map"),
    )


def _commonest_word(result: StructureResult) -> tuple[Fact, ...]:
    """What most layers' maps look like; nothing where none has a word."""
    words = [row.word.word for row in result.all_rows[1:] if row.word]
    if not words:
        return ()
    word = max(dict.fromkeys(words), key=words.count)
    layers = len(result.all_rows) - 1
    return (Fact("Looks like", word, f"map of a patch, {words.count(word)} of {layers} layers"),)
