"""One page as a whole: what it says, the HTML that it becomes, and the file that keeps it."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Final

from pe_inspect.files import write_atomically
from pe_inspect.page.content import Chapter, Entry, Fact, Section, Table
from pe_inspect.page.views import View

__all__ = ["Report"]

MAX_BYTES: Final = 10_000_000


@dataclass(frozen=True)
class Report:
    """One page: what it says (`chapters`), who made it (`provenance`), and how to keep it.

    Attributes:
        title: the page's heading.
        chapters: one a position embedding.
        comparison: their numbers side by side, where there are several.
        provenance: versions, command and date; each chapter has its own besides.
        compared: their maps side by side, where two or more have maps: the section `compare`,
            which stands between the summary and the chapters.
        max_bytes: how large the page may be: the maps of its views are thinned until it fits.
    """

    title: str
    chapters: tuple[Chapter, ...]
    comparison: Table | None = None
    provenance: tuple[Entry, ...] = field(default=())
    compared: Section | None = None
    max_bytes: int = MAX_BYTES

    @property
    def sections(self) -> tuple[Section, ...]:
        """The sections of all chapters, in the page's order; `compared` is not among them."""
        return tuple(section for chapter in self.chapters for section in chapter.sections)

    @property
    def views(self) -> tuple[View, ...]:
        """All that can be explored, in the page's order."""
        first = () if self.compared is None else (self.compared,)
        return tuple(view for section in (*first, *self.sections) for view in section.views)

    @property
    def summary(self) -> dict[str, tuple[Fact, ...]]:
        """Label → the numbers at the top of the page."""
        return {chapter.label: chapter.facts + chapter.found for chapter in self.chapters}

    @cached_property
    def html(self) -> str:
        """The page: one self-contained document that loads nothing."""
        from pe_inspect.page.html import render

        return render(self, self.views, self.max_bytes)

    def save(self, path: str | Path) -> Path:
        """Write the page, whole or not at all, over whatever stood there.

        Raises:
            OutputError: the folder cannot be written, or the disk is full.
        """
        content = self.html.encode("utf-8")
        return write_atomically(Path(path), lambda file: file.write(content))

    def _repr_html_(self) -> str:
        from pe_inspect.page.notebook import framed

        findings = [section.finding for section in self.sections]
        return framed(self.html, self.title, findings)
