"""The section `doctor`: is the checkpoint healthy?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pe_inspect.analysis.common.sentences import listed
from pe_inspect.diagnosis.diagnosis import Diagnosis
from pe_inspect.diagnosis.doctor import doctor as diagnosed
from pe_inspect.page.content import Definition, Section, Table
from pe_inspect.page.sections import sections
from pe_inspect.page.subjects import Subject

if TYPE_CHECKING:
    from pe_inspect.finding import Finding

_READING: Final = (
    "An error is what no model can work with as it is; a warning is what works, and probably not "
    "as intended. Each finding names the tensor, the number that gave it away, and what mends it."
)
_CAVEATS: Final = (
    "No finding means that these checks found nothing: they look at names, shapes, types and "
    "values, and run no model.",
)
_COLUMNS: Final = ("code", "severity", "where", "what was seen", "why it matters", "what to do")


@sections.register("doctor")
def doctor(subject: Subject) -> Section:
    """Word the doctor's findings; those of the file are among them where it was examined."""
    result: Diagnosis = subject.answered("doctor", diagnosed)
    return Section(
        stem="doctor",
        title="Health",
        question="Is it healthy?",
        finding=_finding(result),
        figures=(),
        how_to_read=_READING,
        definition=_definition(result),
        tables=(_table_of_findings(result),) if result.findings else (),
        caveats=_CAVEATS,
        notes=result.notes,
    )


def _finding(result: Diagnosis) -> str:
    named = [f"{one.message} {_mended(one)}".strip() for one in result.findings]
    return " ".join([result.finding, *named])


def _mended(finding: Finding) -> str:
    first = finding.mend.splitlines()[0] if finding.mend else ""
    return f"To do: {first}" if first else ""


def _definition(result: Diagnosis) -> Definition:
    return Definition(
        f"{len(result.checks)} checks were made: {listed(list(result.checks))}. Each draws its "
        "conclusion only from numbers that it prints.",
        source="pe-inspect doctor runs the same checks, and more against a model that you name",
        terms=tuple((one.code, one.why) for one in result.findings),
    )


def _table_of_findings(result: Diagnosis) -> Table:
    rows = tuple(
        (one.code, one.severity, one.where, one.message, one.why, one.mend)
        for one in result.findings
    )
    return Table("findings of the doctor", _COLUMNS, rows, "doctor")
