"""The section `probe`: can position be read back out of each layer?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pe_inspect.page.content import Definition, Fact, Section
from pe_inspect.page.result_parts import defined, parameters_of, pictures, table_of
from pe_inspect.page.sections import sections
from pe_inspect.page.subjects import Subject

if TYPE_CHECKING:
    from pe_inspect.analysis.probe import ProbeResult

_READING: Final = (
    "R² 1 means that a linear map of a patch's token gives its row or column exactly, on images "
    "and at places that the map has not been fitted to; 0 is as good as the mean, below 0 is "
    "worse. Both controls should lie far below: targets that trade places cannot be known, and a "
    "model without positions knows its place by what the images show there alone."
)
_CAVEATS: Final = (
    "That position can be read does not mean that the model reads it.",
    "The last layers need many images: 64 at least.",
)


@sections.register("probe")
def probe(subject: Subject) -> Section:
    """Word how far position can be read.

    Raises:
        NotAsked: no model was run.
        UsageError: why it was not.
    """
    result: ProbeResult = subject.handed_in("probe")
    finding, numbers = result.finding, result.summary()
    count = f"R², {result.trace.images.count} images"
    return Section(
        stem="probe",
        title="Probe",
        question="Can position be read back out of each layer?",
        finding=finding,
        figures=pictures(result, finding, dpi=subject.dpi),
        how_to_read=_READING,
        definition=Definition(
            "Ridge regression from patch tokens to the row and column of cell centres in (−1, 1); "
            "four folds of images and four of positions; fit f learns outside fold f of both and "
            "is tested inside both; features standardised, penalty 10⁻³ · n, a free intercept.",
            "R² = 1 − Σ (y − ŷ)² / Σ (y − ȳ)², about the mean of the tested targets",
            "arXiv:1909.03368 (control tasks)",
            tuple(result.defined().items()),
        ),
        tables=(table_of("by place in the stream", result.rows(), "probe"),),
        facts=defined(
            Fact("Position read, first", numbers["r2_first"], f"{count}, ahead of block 0"),
            Fact("Position read, last", numbers["r2_final"], f"{count}, behind the last norm"),
        ),
        caveats=_CAVEATS,
        notes=result.notes,
        parameters=parameters_of(result),
    )
