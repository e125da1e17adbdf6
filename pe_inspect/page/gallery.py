"""Many pages → an index: a thumbnail and the key numbers of each, sortable and filterable.

The index is a page like the others: it loads nothing, and its table reads well without scripts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from pe_inspect.files import write_atomically
from pe_inspect.page.content import Cell, Chapter, Entry, Fact, Health, Picture
from pe_inspect.page.pictures import picture
from pe_inspect.page.report_page import Report

if TYPE_CHECKING:
    from pe_inspect.analysis.similarity import SimilarityResult

__all__ = ["Exhibit", "Gallery", "Refusal", "exhibits_of", "thumbnail"]

_TEMPLATE: Final = "gallery.html.jinja"
_STYLES: Final = ("report.css", "gallery.css")
_SCRIPT: Final = "gallery.js"
_KEY: Final = frozenset(
    {
        "Scheme", "Join", "Positions", "Learned scalars", "Test accuracy", "Findings",
        "Likeness of neighbours", "Likeness far apart", "Bias of neighbours", "Bias far apart",
    }
)  # fmt: skip


@dataclass(frozen=True)
class Exhibit:
    """One embedding in the index.

    Attributes:
        label: its short name.
        page: the file name of its report, beside the index.
        anchor: its chapter there; empty where the page has no other.
        headline: what it is.
        facts: its key numbers.
        thumbnail: its maps, small; `None` where it has none.
        health: the doctor's findings; `None` where nobody examined it.
    """

    label: str
    page: str
    anchor: str
    headline: str
    facts: tuple[Fact, ...]
    thumbnail: Picture | None = None
    health: Health | None = None

    @property
    def link(self) -> str:
        """A relative address, safe for every file name."""
        return f"{quote(self.page)}#{self.anchor}" if self.anchor else quote(self.page)

    @property
    def values(self) -> Mapping[str, Cell]:
        """Fact name → value, the number of findings among them."""
        found = {} if self.health is None else {"Findings": len(self.health.findings)}
        return {**{fact.name: fact.value for fact in self.facts}, **found}


@dataclass(frozen=True)
class Refusal:
    """A checkpoint that has no page, and why."""

    label: str
    reason: str


@dataclass(frozen=True)
class Gallery:
    """The index of many pages.

    Attributes:
        title: the heading.
        exhibits: one an embedding, in the order of the folder.
        refusals: the checkpoints that could not be read.
        provenance: command, date, versions.
    """

    title: str
    exhibits: tuple[Exhibit, ...]
    refusals: tuple[Refusal, ...] = ()
    provenance: tuple[Entry, ...] = field(default=())

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of all key numbers, in the order in which they first occur."""
        return tuple(dict.fromkeys(name for each in self.exhibits for name in each.values))

    @property
    def more(self) -> frozenset[str]:
        """The columns that a button brings, so that the others fit a screen."""
        columns = frozenset(self.columns)
        return columns - _KEY if columns & _KEY else frozenset()

    @property
    def numeric(self) -> Mapping[str, bool]:
        """Column → whether it holds numbers alone."""
        return {
            name: not any(isinstance(each.values.get(name), str) for each in self.exhibits)
            for name in self.columns
        }

    @cached_property
    def html(self) -> str:
        """The index: one self-contained document that loads nothing."""
        from pe_inspect.page.template import environment, policy, text_of
        from pe_inspect.version import __version__

        style, script = "".join(map(text_of, _STYLES)), text_of(_SCRIPT)
        template = environment().get_template(_TEMPLATE)
        return str(
            template.render(
                gallery=self, style=style, script=script, policy=policy(style, script),
                version=__version__,
            )
        )  # fmt: skip

    def save(self, path: str | Path) -> Path:
        """Write the index, whole or not at all, over whatever stood there.

        Raises:
            OutputError: the folder cannot be written, or the disk is full.
        """
        content = self.html.encode("utf-8")
        return write_atomically(Path(path), lambda file: file.write(content))


def exhibits_of(
    page: Report,
    file: str,
    thumbnails: Sequence[Picture | None],
    extra: Sequence[Fact] = (),
) -> tuple[Exhibit, ...]:
    """Return what the index shows of one page: one exhibit a chapter.

    Args:
        page: the page.
        file: its file name, beside the index.
        thumbnails: one a chapter.
        extra: key numbers of the checkpoint itself, e.g. its accuracy.
    """
    return tuple(
        _exhibit(chapter, file, image, extra) for chapter, image in zip(page.chapters, thumbnails)
    )


def _exhibit(chapter: Chapter, file: str, image: Picture | None, extra: Sequence[Fact]) -> Exhibit:
    facts = (*chapter.traits, *chapter.facts, *extra, *chapter.found)
    return Exhibit(
        chapter.label, file, chapter.anchor, chapter.headline, facts, image, chapter.health
    )


def thumbnail(result: SimilarityResult | None, seen: str) -> Picture | None:
    """Draw a result's maps as small as they are still told apart; `None` without a result."""
    if result is None:
        return None
    from pe_inspect.figures.thumbnail import draw_thumbnail

    figure: Any = draw_thumbnail(result)
    return picture(figure, "thumbnail", alt=seen, dpi=figure.dpi)
