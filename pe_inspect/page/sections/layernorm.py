"""The section `layernorm`: what do the norms hold, and what do they do to the embedding?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from pe_inspect.analysis.common.sentences import listed
from pe_inspect.analysis.layernorm.finding import before_to_after, commonest
from pe_inspect.page.content import Definition, Fact, Section, Table
from pe_inspect.page.result_parts import parameters_of, pictures, table_of
from pe_inspect.page.sections import sections
from pe_inspect.page.subjects import Subject

if TYPE_CHECKING:
    from pe_inspect.analysis.layernorm import LayerNormResult
    from pe_inspect.kinds.position_embedding import PositionEmbedding

_OF_NO_LAYER: Final = "model"  # the norm that stands before or after all blocks
_READING: Final = (
    "γ scales each channel after the row is brought to mean 0 and variance 1, and β shifts it. "
    "A γ near 1 and a β near 0 are where training begins; a γ near 0 switches a channel off."
)
_READING_BOTH: Final = (
    " Where position norms stand beside token norms, the distance between the two curves is how "
    "differently a layer treats place and content."
)
_READING_STEPS: Final = (
    " The decomposition goes from the table as the norm receives it to what the norm makes of it, "
    "one step at a time."
)
_STEPS: Final = (
    ", and six variants of what it does to the table that it receives: without and with the "
    "normalisation, γ and β"
)
_SUMMED: Final = (
    "γ and β act on the sum of content and position wherever a norm is not a position norm: its "
    "numbers say nothing of position alone."
)
_INSIDE: Final = (
    "This embedding enters inside attention: the norms of the tokens act on what attention gives, "
    "and say nothing of position alone."
)
_EPS: Final = (
    "No tensor holds ε: it is read beside the weights, or assumed. Where rows are short it decides "
    "how far they are stretched."
)


@sections.register("layernorm")
def layernorm(subject: Subject) -> Section:
    """Word γ of each kind of norm, and the table before and after its norms."""
    result: LayerNormResult = subject.ask("layernorm")
    finding = result.finding
    return Section(
        stem="layernorm",
        title="LayerNorm",
        question="What do the norms hold, and what do they do to the embedding?",
        finding=finding,
        figures=pictures(result, finding, dpi=subject.dpi),
        how_to_read=_reading(result),
        definition=_definition(result),
        tables=tuple(_tables_of_norms(result)),
        facts=_facts(result),
        caveats=(_INSIDE if _is_inside(subject.embedding) else _SUMMED, _EPS),
        notes=result.notes,
        parameters=parameters_of(result),
    )


def _is_inside(pe: PositionEmbedding | None) -> bool:
    """Whether attention receives the embedding, and tokens never do."""
    return pe is not None and pe.scheme_kind.in_attention


def _reading(result: LayerNormResult) -> str:
    """Word what is on the page: not every checkpoint has position norms, or a decomposition."""
    both = _READING_BOTH if result.cosines_to_norm1 else ""
    return _READING + both + (_READING_STEPS if result.decompositions else "")


def _definition(result: LayerNormResult) -> Definition:
    variants = result.variants if result.decompositions else {}
    return Definition(
        f"Each norm's parameters as stored{_STEPS if variants else ''}.",
        "LayerNorm(x) = γ ⊙ (x − mean(x)) / √(var(x) + ε) + β, over channels",
        "arXiv:1607.06450 (LayerNorm); LaPE (ICCV 2023), Eq. 9–11 and Table 8",
        (*_terms(result), *variants.items()),
    )


def _terms(result: LayerNormResult) -> Iterator[tuple[str, str]]:
    for name, meaning in result.definitions.items():
        if result.decompositions or not name.startswith("decomposition"):
            yield name, meaning


def _tables_of_norms(result: LayerNormResult) -> Iterator[Table]:
    norms = [{**row.cells(), "layer": row.layer or _OF_NO_LAYER} for row in result.rows]
    yield table_of("γ (weight) and β (bias) of each norm", norms, "layernorm")
    if result.decompositions:
        steps = _steps(result)
        yield table_of("the table, step by step through each norm", steps, "layernorm_steps")


def _steps(result: LayerNormResult) -> Iterator[dict[str, Any]]:
    for part in result.decompositions:
        for variant in part.variants:
            yield {"layer": part.layer, "norm": part.norm, **vars(variant)}


def _facts(result: LayerNormResult) -> tuple[Fact, ...]:
    numbers = result.summary()
    facts = [Fact("Norms", len(result.rows), listed(commonest(result.layer_counts)))]
    if change := before_to_after(numbers, "scale"):
        arrow = change.removeprefix("from ").replace(" to ", " → ")
        facts.append(Fact("Scale through the norms", arrow, "mean over layers"))
    return tuple(facts)
