"""`pe-inspect report`: one self-contained page about one or several checkpoints, or an index."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from pe_inspect.commands.shell import ANSWERS, command
from pe_inspect.commands.shell.describe import command_line, versions
from pe_inspect.commands.shell.options import (
    Opening,
    Output,
    Reading,
    Resize,
    Selection,
    Source,
    Terminal,
)
from pe_inspect.commands.shell.page_content import Wanted, check_wanted, page_of
from pe_inspect.commands.shell.parsing import megabytes, whole
from pe_inspect.commands.shell.question_runner import (
    OpenedCheckpoint,
    described,
    open_subject,
    output_folder,
)
from pe_inspect.commands.shell.snapshots import gallery_in
from pe_inspect.commands.shell.terminal import complain, working, write_json, write_line

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
    wanted = Wanted(selection, resize, reading, title, max_mb, dpi)
    folder = gallery_in(checkpoints or [])
    if folder is not None:
        from pe_inspect.commands.shell.gallery import write_gallery

        write_gallery(folder, opening, wanted, output, terminal)
        return
    given: Sequence[str | None] = checkpoints or [None]
    subjects = [
        open_subject(Source(**vars(opening), checkpoint=name), reading, terminal, with_sha256=True)
        for name in given
    ]
    _write_page(subjects, wanted, output, terminal)


def _write_page(
    subjects: Sequence[OpenedCheckpoint],
    wanted: Wanted,
    output: Output,
    terminal: Terminal,
) -> None:
    folder = output_folder(output, "-and-".join(subject.name for subject in subjects[:3]))
    folder.claim([PAGE])
    for refusal in check_wanted([pe for subject in subjects for pe in subject.tables], wanted):
        if not terminal.quiet:
            complain(f"Note: {refusal}")
    _announce(subjects, terminal)
    with working("report", quiet=terminal.quiet):
        page = page_of(subjects, wanted, quiet=terminal.quiet).html.encode()
    folder.write(PAGE, lambda file: file.write(page))
    if terminal.json:
        write_json(_as_json(subjects, folder.written))
    else:
        write_line(f"Wrote {folder.path / PAGE}")


def _announce(subjects: Sequence[OpenedCheckpoint], terminal: Terminal) -> None:
    for subject in subjects:
        for pe in subject.tables:
            label = f"{subject.name}: " if len(subjects) > 1 else ""
            if not terminal.json:
                write_line(label + pe.headline)
            for note in () if terminal.quiet else pe.notes:
                complain(f"Note: {label}{note}")


def _as_json(subjects: Sequence[OpenedCheckpoint], written: Sequence[Path]) -> dict[str, Any]:
    return {
        "checkpoints": [described(subject) for subject in subjects],
        "written": list(written),
        "versions": versions(),
        "command": command_line(),
    }
