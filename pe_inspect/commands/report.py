"""`pe-inspect report`: one self-contained page about one or several checkpoints, or an index."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from pe_inspect.checkpoint_files import checkpoint_name
from pe_inspect.commands.shell import ANSWERS, command
from pe_inspect.commands.shell.describe import command_line, now, versions
from pe_inspect.commands.shell.opening import NamedCheckpoint, described, open_subject
from pe_inspect.commands.shell.options import (
    Opening,
    Output,
    Reading,
    Resize,
    Selection,
    Source,
    Terminal,
)
from pe_inspect.commands.shell.parsing import megabytes, whole
from pe_inspect.commands.shell.progress import counted
from pe_inspect.commands.shell.question_runner import output_folder
from pe_inspect.commands.shell.terminal import complain, working, write_json, write_line
from pe_inspect.front import OpenedCheckpoint
from pe_inspect.front.snapshots import gallery_in

if TYPE_CHECKING:
    from pe_inspect.front.gallery import GalleryFiles
    from pe_inspect.page.gallery import Refusal

PAGE: Final = "report.html"

_Checkpoints = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="CHECKPOINT",
        help="One or several, or a folder of many, which get an index; left out: the newest under "
        "./checkpoints/, else the default recipe.",
        show_default=False,
    ),
]
_Title = Annotated[
    str | None, typer.Option("--title", metavar="TEXT", help="The heading of the page.")
]
_MaxMb = Annotated[
    float,
    typer.Option(
        "--max-mb",
        metavar="X",
        help="How large the page may be (default: 10). A larger one is thinned, and says so.",
        parser=megabytes,
        show_default=False,
        rich_help_panel="Files",
    ),
]
_Dpi = Annotated[
    int | None,
    typer.Option(
        "--dpi",
        metavar="N",
        help="Dots an inch of the pictures (default: as many as each needs).",
        parser=whole("--dpi", least=10, most=1200),
        show_default=False,
        rich_help_panel="Files",
    ),
]


@command("report", panel=ANSWERS)
def report(
    opening: Opening,
    selection: Selection,
    resize: Resize,
    reading: Reading,
    output: Output,
    terminal: Terminal,
    checkpoints: _Checkpoints = None,
    title: _Title = None,
    max_mb: _MaxMb = 10.0,
    dpi: _Dpi = None,
) -> None:
    """One self-contained page: every answer, with how to read it and where it comes from."""
    look: dict[str, Any] = {
        "title": title,
        "max_mb": max_mb,
        "dpi": dpi,
        "command": command_line(),
        "now": now(),
    }
    look |= {"options": _options(selection, resize, reading), "hints": reading.hints()}
    folder = gallery_in(checkpoints or [])
    if folder is not None:
        _write_gallery(folder, opening, look, output, terminal)
        return
    given: Sequence[str | None] = checkpoints or [None]
    subjects = [
        open_subject(Source(**vars(opening), checkpoint=name), reading, terminal, with_sha256=True)
        for name in given
    ]
    _write_page(subjects, look, output, terminal)


def _options(selection: Selection, resize: Resize, reading: Reading) -> dict[str, dict[str, Any]]:
    """Return what the questions on the page are asked with, where the user said so."""
    norms = _given(ln_eps=reading.ln_eps)
    token = _given(token=selection.query())
    shown = _given(layer=selection.where(), head=selection.head)
    size = {**resize.arguments(), **_given(patch_size=reading.patch())}
    return {
        "interpolate": {**size, **token},
        "similarity": {**norms, **shown, **token},
        "layernorm": norms,
    }


def _given(**options: Any) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}


def _write_page(
    subjects: Sequence[NamedCheckpoint], look: dict[str, Any], output: Output, terminal: Terminal
) -> None:
    from pe_inspect.front.report import report as ask
    from pe_inspect.front.report import unanswered

    folder = output_folder(output, "-and-".join(subject.name for subject in subjects[:3]))
    folder.claim([PAGE])
    say = partial(_note, quiet=terminal.quiet)
    for refusal in unanswered([pe for each in subjects for pe in each.tables], look["options"]):
        say(refusal)
    _announce(subjects, terminal)
    with working("report", quiet=terminal.quiet):
        page = ask(subjects, **look, say=say).html.encode()
    folder.write(PAGE, lambda file: file.write(page))
    if terminal.json:
        _write_json({"checkpoints": list(map(described, subjects)), "written": folder.written})
    else:
        write_line(f"Wrote {folder.path / PAGE}")


def _announce(subjects: Sequence[NamedCheckpoint], terminal: Terminal) -> None:
    for subject in subjects:
        for pe in subject.tables:
            label = f"{subject.name}: " if len(subjects) > 1 else ""
            if not terminal.json:
                write_line(label + pe.headline)
            for note in pe.notes:
                _note(label + note, quiet=terminal.quiet)


def _note(text: str, *, quiet: bool) -> None:
    if not quiet:
        complain(f"Note: {text}")


def _write_json(content: dict[str, Any]) -> None:
    write_json({**content, "versions": versions(), "command": command_line()})


def _write_gallery(
    folder: Path, opening: Opening, look: dict[str, Any], output: Output, terminal: Terminal
) -> None:
    from pe_inspect.front.gallery import gallery

    pages = _WrittenPages(output_folder(output, checkpoint_name(folder)).path, terminal)
    made = gallery(
        folder,
        pages.folder,
        force=output.force,
        watch=partial(counted, what="checkpoint", quiet=terminal.quiet),
        tell=pages,
        **look,
        **opening.opening(),
    )
    if terminal.json:
        _write_json(pages.as_json(made))
    else:
        write_line(f"Wrote {made.index}, the index of {len(made.pages)} reports")


@dataclass
class _WrittenPages:
    """Tells every page as it is written, and keeps what it is about: the checkpoint goes."""

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
            _note(f"{name} is left out: {found.reason}", quiet=self.terminal.quiet)

    def as_json(self, made: GalleryFiles) -> dict[str, Any]:
        """Return the contract's object."""
        return {
            "index": made.index,
            "checkpoints": self.described,
            "left_out": [{"name": each.label, "why": each.reason} for each in made.left_out],
            "written": [*made.pages, made.index],
        }
