"""Pages as lines of a terminal and as JSON: what each is about, and those of a folder as made."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from pe_inspect.commands.shell.opening import NamedCheckpoint, described
from pe_inspect.commands.shell.question_runner import Target
from pe_inspect.commands.shell.terminal import note, write_line
from pe_inspect.front import OpenedCheckpoint

if TYPE_CHECKING:
    from pe_inspect.commands.shell.options import Terminal
    from pe_inspect.front.gallery import GalleryFiles
    from pe_inspect.page.gallery import Refusal
    from pe_inspect.page.report_page import Report

__all__ = ["PageTeller", "index_line", "pages_object", "target_of", "write_page"]


def target_of(subjects: Sequence[NamedCheckpoint]) -> Target:
    """Return what one page is about; where it is several checkpoints, lines say which is meant."""
    named = [(f"{each.name}: " if len(subjects) > 1 else "", each.tables) for each in subjects]
    return Target(
        subjects,
        tuple(label + pe.headline for label, tables in named for pe in tables),
        tuple(label + note for label, tables in named for pe in tables for note in pe.notes),
        {"checkpoints": list(map(described, subjects))},
    )


@dataclass
class PageTeller:
    """Tells every page of a folder as it is written, and keeps what it is about.

    The checkpoint itself is not kept: one is in memory at a time.
    """

    folder: Path
    terminal: Terminal
    described: list[dict[str, Any]] = field(default_factory=list)

    def __call__(self, name: str, found: OpenedCheckpoint | Refusal) -> None:
        """Tell one page, or why there is none."""
        if isinstance(found, OpenedCheckpoint):
            self.described.append({**described(found), "page": name})
            if not (self.terminal.json or self.terminal.quiet):
                write_line(f"Wrote {self.folder / name}")
        else:
            note(f"{name} is left out: {found.reason}", quiet=self.terminal.quiet)

    def as_json(self, made: GalleryFiles) -> dict[str, Any]:
        """Return what the JSON object holds of all pages."""
        return {
            "index": made.index,
            "checkpoints": self.described,
            "left_out": [{"name": each.label, "why": each.reason} for each in made.left_out],
            "written": [*made.pages, made.index],
        }


def index_line(made: GalleryFiles) -> Iterator[str]:
    """Yield the line that says where the index is."""
    yield f"Wrote {made.index}, the index of {len(made.pages)} reports"


def write_page(page: Report, file: IO[bytes]) -> None:
    """Write a page: UTF-8."""
    file.write(page.html.encode())


def pages_object(entries: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return what the JSON object says of all pages: the checkpoints tell their own notes."""
    return {name: value for name, value in entries[0].items() if name != "notes"}
