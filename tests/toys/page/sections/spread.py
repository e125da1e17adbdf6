"""The toy question's section."""

from __future__ import annotations

from pe_inspect.page.content import Definition, Section
from pe_inspect.page.result_parts import pictures
from pe_inspect.page.sections import sections
from pe_inspect.page.subjects import Subject


@sections.register("spread")
def spread(subject: Subject) -> Section:
    """Word the answer."""
    result = subject.ask("spread")
    return Section(
        stem="spread",
        title="Spread",
        question="How far apart are its numbers?",
        finding=result.finding,
        figures=pictures(result, result.finding),
        how_to_read="One bar a table.",
        definition=Definition("Largest minus smallest number."),
    )
