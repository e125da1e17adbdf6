"""What a page says, as plain frozen dataclasses, before anything of how it looks.

A page has a `Chapter` for each position embedding; a chapter has a `Section` for each question
that applies; a section has its finding, its facts, `Picture`s, a `Definition` and `Table`s.
"""

from __future__ import annotations

import base64
import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from pe_inspect.cells import as_cell
from pe_inspect.finding import Finding
from pe_inspect.page.head_sheets import HeadSheet
from pe_inspect.page.views import View

__all__ = [
    "Cell",
    "Chapter",
    "Definition",
    "Entry",
    "Fact",
    "Health",
    "Omission",
    "Picture",
    "Section",
    "Table",
]

Cell: TypeAlias = str | int | float | None


@dataclass(frozen=True)
class Picture:
    """An image that travels inside the page.

    Attributes:
        stem: the file name that the same figure has on disk, without its suffix.
        media_type: `"image/webp"`.
        data: the file's bytes.
        width: CSS pixels at which it is drawn where there is room (96 a printed inch).
        height: likewise.
        title: what it shows.
        caption: how it was made: scale, definition, what was left out.
        alt: what a reader who cannot see it needs to know.
    """

    stem: str
    media_type: str
    data: bytes
    width: int
    height: int
    title: str
    caption: str
    alt: str

    @property
    def uri(self) -> str:
        """The whole image as a `data:` address."""
        return f"data:{self.media_type};base64,{base64.b64encode(self.data).decode('ascii')}"


@dataclass(frozen=True)
class Fact:
    """One number of the handful that describe an embedding.

    Attributes:
        name: what is counted or measured.
        value: shown as it is given; a float with four significant digits.
        meaning: a few words that say what the number is; no judgement.
    """

    name: str
    value: Cell
    meaning: str = ""


@dataclass(frozen=True)
class Table:
    """Numbers behind a figure: one row a layer, norm or method.

    Attributes:
        caption: what is counted or measured.
        columns: a name each; the first one's cells name the rows.
        rows: as they were computed; the page shows four digits, `csv` all of them.
        name: the stem of the file under which the page offers it; empty for none.
    """

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    name: str = ""

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(
                    f"table {self.caption!r}: a row has {len(row)} cells for "
                    f"{len(self.columns)} columns"
                )

    @property
    def numeric(self) -> tuple[bool, ...]:
        """Whether each column holds numbers alone: those are aligned at their right."""
        return tuple(
            all(not isinstance(row[place], str) for row in self.rows)
            for place in range(len(self.columns))
        )

    @property
    def csv(self) -> str:
        """The whole table: one header line, all digits, nothing where a number is missing."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(map(as_cell, self.columns))
        writer.writerows([_exact(cell) for cell in row] for row in self.rows)
        return text.getvalue()


def _exact(cell: Cell) -> Cell:
    is_missing = isinstance(cell, float) and cell != cell
    return None if is_missing else as_cell(cell)


@dataclass(frozen=True)
class Definition:
    """What is computed, exactly, and who defined it.

    Attributes:
        text: the definition in words.
        formula: one line an equation, in plain text.
        source: papers and figures, e.g. `"arXiv:2010.11929, Fig. 7"`.
        terms: (name, meaning) of each number in the tables.
    """

    text: str
    formula: str = ""
    source: str = ""
    terms: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Section:
    """The answer to one question about one embedding.

    Attributes:
        stem: the question's name everywhere: command, analysis, figure and section.
        title: one or two words.
        question: what is asked, as a sentence.
        finding: the answer in one sentence, with its numbers.
        figures: in the order of reading.
        how_to_read: what to look for in them.
        definition: what exactly is shown.
        tables: the numbers behind the figures.
        facts: the few numbers that go to the top of the page.
        caveats: what the answer does not say.
        notes: what was assumed, corrected or left out on the way.
        parameters: (name, value) of the choices behind the answer, by their command-line names.
        views: the same figures to explore; each has its static form among `figures`.
        heads: every head to explore, of a model that attends.
        plates: figures that nothing to explore shows: they are never folded away.
    """

    stem: str
    title: str
    question: str
    finding: str
    figures: tuple[Picture, ...]
    how_to_read: str
    definition: Definition
    tables: tuple[Table, ...] = ()
    facts: tuple[Fact, ...] = ()
    caveats: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    parameters: tuple[tuple[str, str], ...] = ()
    views: tuple[View, ...] = ()
    heads: HeadSheet | None = None
    plates: tuple[Picture, ...] = ()


@dataclass(frozen=True)
class Health:
    """What the doctor's checks found; the summary shows it, the section `doctor` explains it.

    Attributes:
        findings: what is wrong, in the order of the checks.
        verdict: one sentence: how many checks found what.
    """

    findings: tuple[Finding, ...]
    verdict: str


@dataclass(frozen=True)
class Omission:
    """A question that this embedding has no answer to, and why."""

    stem: str
    reason: str


@dataclass(frozen=True)
class Entry:
    """A line of the provenance block.

    Attributes:
        name: what is told.
        values: as they stand in the file or on the command line; one or more.
        is_prose: whether the values are sentences instead.
    """

    name: str
    values: tuple[str, ...]
    is_prose: bool = False


@dataclass(frozen=True)
class Chapter:
    """Everything that a page says of one position embedding.

    Attributes:
        label: a short name, unique on the page.
        anchor: what the ids of its parts begin with; empty where it is alone.
        sections: the questions that have an answer.
        omissions: the questions that have none.
        headline: the line that every command prints first.
        lede: the same in words.
        traits: what the headline names, for a comparison.
        facts: numbers of the embedding itself.
        notes: guesses and corrections made while it was read.
        provenance: where the embedding comes from.
        health: the doctor's findings; `None` where nobody examined it.
    """

    label: str
    anchor: str
    sections: tuple[Section, ...]
    omissions: tuple[Omission, ...] = ()
    headline: str = ""
    lede: str = ""
    traits: tuple[Fact, ...] = ()
    facts: tuple[Fact, ...] = ()
    notes: tuple[str, ...] = ()
    provenance: tuple[Entry, ...] = ()
    health: Health | None = None

    @property
    def found(self) -> tuple[Fact, ...]:
        """The numbers that the sections found."""
        return tuple(fact for section in self.sections for fact in section.facts)


def _numbers(chapter: Chapter) -> tuple[Fact, ...]:
    health = chapter.health
    found = () if health is None else (Fact("Findings", len(health.findings)),)
    return chapter.traits + found + chapter.facts + chapter.found


def comparison_of(chapters: Sequence[Chapter]) -> Table | None:
    """Return the chapters' numbers side by side: one row a number, one column a chapter."""
    if len(chapters) < 2:
        return None
    found = [{fact.name: fact.value for fact in _numbers(chapter)} for chapter in chapters]
    names = dict.fromkeys(name for facts in found for name in facts)
    rows = tuple((name, *(facts.get(name) for facts in found)) for name in names)
    columns = ("quantity", *(chapter.label for chapter in chapters))
    return Table("Side by side", columns, rows, "side_by_side")
