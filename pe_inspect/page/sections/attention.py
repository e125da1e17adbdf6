"""The section `attention`: which heads attend by position?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pe_inspect.page.content import Definition, Fact, Section
from pe_inspect.page.head_sheets import head_sheet
from pe_inspect.page.result_parts import defined, parameters_of, pictures, table_of
from pe_inspect.page.sections import sections
from pe_inspect.page.subjects import Subject

if TYPE_CHECKING:
    from pe_inspect.analysis.attention import AttentionResult

_READING: Final = (
    "Each small map is one head: how much a patch attends to the one that many rows down and "
    "columns right, mean over patches and images. A single bright offset is a head that looks at "
    "one neighbour whatever the image; a bright half is one that looks up, down, left or right; a "
    "bright middle looks at the patch itself; an even map attends by content, or not by place. "
    "In the budget, what stays over images is position, what changes with them content."
)
_CAVEATS: Final = (
    "What a head attends to is not what it moves: values and later blocks decide that.",
    "Far offsets have few pairs of patches, all at the border: their attention is a mean of few.",
    "Few images flatter position: content is at most ln of their number.",
)
_SOURCE: Final = (
    "arXiv:2010.11929 (ViT), Fig. 7 right (distance); arXiv:2212.03862 (offset heads); "
    "arXiv:2006.15595 (TUPE: parts of the logits)"
)


@sections.register("attention")
def attention(subject: Subject) -> Section:
    """Word the heads that look at one neighbour or one half of the image.

    Raises:
        NotAsked: no model was run.
        UsageError: why it was not.
    """
    result: AttentionResult = subject.handed_in("attention")
    finding = result.finding
    sheet, *plates = pictures(result, finding, first=("attention",), dpi=subject.dpi)
    return Section(
        stem="attention",
        title="Attention",
        question="Which heads attend by position?",
        finding=finding,
        figures=(sheet,),
        how_to_read=_READING,
        definition=_definition(result),
        tables=(table_of("every head", result.rows(), "attention"),),
        facts=_facts(result),
        caveats=_CAVEATS,
        notes=result.notes,
        parameters=parameters_of(result),
        heads=head_sheet(result),
        plates=tuple(plates),
    )


def _definition(result: AttentionResult) -> Definition:
    return Definition(
        "Attention A is the model's own softmax, prefix keys included; R is the attention of a "
        "patch among patches, renormalised. Distances are Euclidean, between the middles of "
        "patches. An offset's attention is the mean of R over all pairs with that offset.",
        "position = ln N − mean_q H(R̄_q); content = mean_q H(R̄_q) − mean_iq H(R_iq); "
        "spread = mean_iq H(R_iq); R̄ is the mean of R over images",
        _SOURCE,
        tuple(result.definitions.items()),
    )


def _facts(result: AttentionResult) -> tuple[Fact, ...]:
    numbers, count = result.summary(), result.trace.images.count
    return defined(
        Fact("Offset heads", len(result.offset_heads), f"of {len(result.heads)}, {count} images"),
        Fact("Half-plane heads", len(result.half_plane_heads), f"of {len(result.heads)}"),
        Fact("Attention distance", numbers["distance_of_uniform"], "of that of equal attention"),
        Fact("Attention by position", numbers["position_nats"], "nats, mean over heads"),
    )
