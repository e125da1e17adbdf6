"""The section `evaluate`: how accurate is the model, and what are its positions worth to it?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from pe_inspect.page.content import Definition, Fact, Section
from pe_inspect.page.sections import sections
from pe_inspect.page.sections._parts import parameters_of, pictures, sentence, table_of
from pe_inspect.page.subjects import NotAsked, Subject
from pe_inspect.page.text import listed

if TYPE_CHECKING:
    from pe_inspect.analysis.evaluate import EvaluationResult, EvaluationRow

_READING: Final = (
    "The dashed line is the model as it is. A line that falls steeply away from it needs the size "
    "that it was trained at; lines that lie on each other say that the method does not matter. A "
    "bar as long as the plain one says that the model does without; a bar near chance (dotted) "
    "that it cannot."
)
_CAVEATS: Final = (
    "The standard error is of one accuracy. Rows share their images: a difference has an error of "
    "its own, over the pairs.",
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
    finding = _finding(result)
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


def _finding(result: EvaluationResult) -> str:
    plain = result.plain
    whole = (
        f"Top-1 is {_percent(plain)} ± {100 * plain.standard_error:.1f} on {plain.count:,} test "
        f"images of {result.dataset}"
    )
    return sentence([whole, *_changes(result), *_sizes(result)])


def _changes(result: EvaluationResult) -> Iterator[str]:
    changed = [f"{_percent(row)} {row.name}" for row in result.ablations[1:]]
    if changed:
        yield f"with positions changed it is {listed(changed)}"


def _sizes(result: EvaluationResult) -> Iterator[str]:
    rows = [row for row in result.rows[1:] if (row.condition, row.method) == ("plain", "native")]
    if rows:
        at = [f"{_percent(row)} at {row.res[0]}×{row.res[1]}" for row in rows]
        yield f"by the model's own rule it is {listed(at)}"


def _definition(result: EvaluationResult) -> Definition:
    return Definition(
        "The share of test images whose class has the largest logit, in float32. Other sizes: the "
        "images are resized by bicubic interpolation, antialiased, from the stored uint8, and the "
        "positions are brought to the new grid by the method. Changes act on what the model "
        "receives of the position embedding, at its own size.",
        "standard error = √(top1·(1 − top1)/count); fs = 1 − A_shift/A_normal",
        "arXiv:2606.00124 (permuted patches, fragility score, α-scaling)",
        tuple(result.definitions.items()),
    )


def _facts(result: EvaluationResult) -> tuple[Fact, ...]:
    error = f"± {100 * result.plain.standard_error:.1f}, {result.plain.count:,} images"
    facts = [Fact("Top-1", _percent(result.plain), error)]
    removed = [row for row in result.ablations if row.condition == "removed"]
    facts += [Fact("Top-1 without positions", _percent(row)) for row in removed]
    return tuple(facts)


def _percent(row: EvaluationRow) -> str:
    return f"{100 * row.top1:.1f} %"
