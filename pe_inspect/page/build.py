"""Subjects → the content of a page: every section that applies, and why the others do not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final

from pe_inspect.analysis.common.sentences import listed
from pe_inspect.errors import UndecidedGrid, UsageError
from pe_inspect.page.compare import compare
from pe_inspect.page.content import (
    Chapter,
    Entry,
    Health,
    Omission,
    Section,
    comparison_of,
)
from pe_inspect.page.report_page import Report
from pe_inspect.page.sections import in_reading_order, sections
from pe_inspect.page.subjects import UNNAMED, NotAsked, Subject
from pe_inspect.page.text import anchor
from pe_inspect.page.words import facts_of, lede_of, provenance_of, traits_of

__all__ = ["built"]

_NAMED_IN_TITLE: Final = 3


def built(subjects: Sequence[Subject], title: str | None, made_with: tuple[Entry, ...]) -> Report:
    """Answer every question of every subject, and gather the answers into a page."""
    anchors = _anchors([subject.label for subject in subjects])
    chapters = tuple(_chapter(subject, name) for subject, name in zip(subjects, anchors))
    heading = title or _title([chapter.label for chapter in chapters])
    together = compare(subjects) if len(subjects) > 1 else None
    return Report(heading, chapters, comparison_of(chapters), made_with, together)


def _title(labels: list[str]) -> str:
    if labels == [UNNAMED]:
        return "Position embedding"
    if len(labels) == 1:
        return f"Position embedding of {labels[0]}"
    if len(labels) <= _NAMED_IN_TITLE:
        return f"Position embeddings of {listed(labels)}"
    return f"Position embeddings of {len(labels)} checkpoints"


def _anchors(labels: list[str]) -> list[str]:
    """Return an id a label: none is needed for a single one, and no two are alike."""
    if len(labels) == 1:
        return [""]
    names = [anchor(label) or "embedding" for label in labels]
    taken = [anchor(name, str(k)) for k, name in enumerate(names, start=1)]
    return names if len(set(names)) == len(names) else taken


def _chapter(subject: Subject, name: str) -> Chapter:
    answers = tuple(_answers(subject))
    found = tuple(_own_facts(answer, name) for answer in answers if isinstance(answer, Section))
    omitted = tuple(answer for answer in answers if isinstance(answer, Omission))
    pe = subject.embedding
    if pe is None:
        return Chapter(subject.label, name, sections=found, omissions=omitted)
    return Chapter(
        label=subject.label,
        anchor=name,
        sections=found,
        omissions=omitted,
        headline=pe.headline,
        lede=lede_of(pe),
        traits=traits_of(pe),
        facts=facts_of(pe),
        notes=pe.notes,
        provenance=provenance_of(pe),
        health=_health(subject),
    )


def _own_facts(section: Section, name: str) -> Section:
    """Give the section's views ids of their own on a page of several chapters."""
    views = tuple(replace(view, id=anchor(name, view.id)) for view in section.views)
    return replace(section, views=views)


def _health(subject: Subject) -> Health | None:
    found = subject.results.get("doctor")
    return None if found is None else Health(found.findings, found.finding)


def _answers(subject: Subject) -> Iterator[Section | Omission]:
    for stem in in_reading_order():
        try:
            yield sections[stem](subject)
        except NotAsked:
            continue
        except (UsageError, UndecidedGrid) as reason:
            yield Omission(stem, str(reason))
