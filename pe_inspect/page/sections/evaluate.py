"""The section `evaluate`: how accurate is the model, and what are its positions worth to it?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pe_inspect.analysis.evaluate import accuracy_text, interval_text
from pe_inspect.page.content import Definition, Fact, Section
from pe_inspect.page.result_parts import parameters_of, pictures, table_of
from pe_inspect.page.sections import sections
from pe_inspect.page.subjects import NotAsked, Subject

if TYPE_CHECKING:
    from pe_inspect.analysis.evaluate import EvaluationResult

_READING: Final = (
    "The dashed line is the model as it is. A line that falls steeply away from it needs the size "
    "that it was trained at; lines that lie on each other say that the method does not matter. A "
    "bar as long as the plain one says that the model does without; a bar near chance (dotted) "
    "that it cannot."
)
_CAVEATS: Final = (
    "The interval of top1 is of one accuracy. Rows share their images: a difference has an "
    "interval of its own, over the pairs.",
    "Accuracy at another size mixes two things: positions that were resampled, and patches that "
    "show another part of the object. A scheme without positions shows the second alone.",
    "One checkpoint is one seed: differences between checkpoints hold for these two alone.",
)


@sections.register("evaluate")
def evaluate(subject: Subject) -> Section:
    """Word accuracy as it is, at other sizes, and with positions changed.

    Raises:
        NotAsked: no result was handed in: an embedding alone has no accuracy.
    """
    if "evaluate" not in subject.results:
        raise NotAsked("no result of 'evaluate' was handed in: it needs the model and its images")
    result: EvaluationResult = subject.results["evaluate"]
    finding = result.finding
    return Section(
        stem="evaluate",
        title="Accuracy",
        question="How accurate is the model, and what are its positions worth to it?",
        finding=finding,
        figures=pictures(result, finding),
        how_to_read=_READING,
        definition=_definition(result),
        tables=(table_of("every condition", result.records()),),
        facts=_facts(result),
        caveats=_CAVEATS,
        notes=result.notes,
        parameters=parameters_of(result),
    )


def _definition(result: EvaluationResult) -> Definition:
    return Definition(
        "The share of images whose class has the largest logit, in float32. Other sizes: the "
        "images are resized by bicubic interpolation, antialiased, from the stored uint8, and the "
        "positions are brought to the new grid by the method. Changes act on what the model "
        "receives of the position embedding, at its own size.",
        "95 % intervals: Wilson's score interval of top1, Newcombe's method 10 of differences; "
        "fragility score fs = 1 − A_shift/A_normal",
        "arXiv:2606.00124 (permuted patches, fragility score, α-scaling); E. B. Wilson, J. Am. "
        "Stat. Assoc. 22 (1927) 209; R. G. Newcombe, Statist. Med. 17 (1998) 2635",
        tuple(result.definitions.items()),
    )


def _facts(result: EvaluationResult) -> tuple[Fact, ...]:
    plain = result.plain
    error = f"95 % interval {interval_text(plain)}; {plain.count:,} {result.split} images"
    facts = [Fact("Top-1", accuracy_text(plain), error)]
    removed = [row for row in result.ablations if row.condition == "removed"]
    facts += [Fact("Top-1 without positions", accuracy_text(row)) for row in removed]
    return tuple(facts)
