"""The section `filters`: what do the filters that make patches look for?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pe_inspect.page.content import Definition, Fact, Section
from pe_inspect.page.result_parts import defined, parameters_of, pictures, table_of
from pe_inspect.page.sections import sections
from pe_inspect.page.subjects import Subject

if TYPE_CHECKING:
    from pe_inspect.analysis.filters import FiltersResult

_ROWS: Final = 64  # of the table of components; the command writes all
_READING: Final = (
    "Tiles with smooth waves and edges are what a trained model looks for in a patch; noise is "
    "what an untrained one starts from. A table of which more lies inside than inside random "
    "directions has channels in common with the filters; one of which less does keeps to others."
)
_DEFINITION: Final = (
    "Principal components of the kernel's filters, one a channel, centred over the channels. Each "
    "component is a filter, and a direction among the channels."
)
_FORMULA: Final = "share inside = ‖(E − mean) Uₖ‖² / ‖E − mean‖², for k random directions k/D"
_CAVEATS: Final = (
    "The numbers describe the weights; neither high nor low is better.",
    "A tile's colours are stretched to its own range: compare shapes, not strengths.",
)


@sections.register("filters")
def filters(subject: Subject) -> Section:
    """Word the components of the filters, and the share of the table in their span."""
    result: FiltersResult = subject.handed_in("filters")
    finding = result.finding
    return Section(
        stem="filters",
        title="Filters",
        question="What do the filters that make patches look for?",
        finding=finding,
        figures=pictures(result, finding, dpi=subject.dpi),
        how_to_read=_READING,
        definition=Definition(
            _DEFINITION, _FORMULA, "arXiv:2010.11929 (ViT), Fig. 7 left",
            tuple(result.defined().items()),
        ),
        tables=(table_of(_caption(result), result.rows()[:_ROWS], "filters"),),
        facts=_facts(result),
        caveats=_CAVEATS,
        notes=result.notes,
        parameters=parameters_of(result),
    )  # fmt: skip


def _caption(result: FiltersResult) -> str:
    count = len(result.components.spectrum)
    return f"the first {min(count, _ROWS)} of {count} components"


def _facts(result: FiltersResult) -> tuple[Fact, ...]:
    numbers = result.summary()
    first = int(numbers["num_compared"])
    return defined(
        Fact("Rank of the filters", numbers["effective_rank"], "effective, of their components"),
        Fact("Table in the filters", numbers["inside"], f"share in the span of the first {first}"),
        Fact("At random", numbers["inside_at_random"], f"share in {first} random directions"),
    )
