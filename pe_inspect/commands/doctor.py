"""`pe-inspect doctor`: is a checkpoint healthy, and why does it not fit?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from pe_inspect.commands.shell import LOOK, command
from pe_inspect.commands.shell.describe import as_json, command_line, versions
from pe_inspect.commands.shell.diagnosis_text import (
    finding_line,
    paragraph,
    reading_lines,
    verdict_lines,
)
from pe_inspect.commands.shell.locate import locate
from pe_inspect.commands.shell.options import Reading, Source, Terminal
from pe_inspect.commands.shell.parsing import pair, whole
from pe_inspect.commands.shell.terminal import complain, write_json, write_line
from pe_inspect.commands.shell.transfers import Transfers, transfers
from pe_inspect.errors import HAS_FINDINGS

if TYPE_CHECKING:
    from pe_inspect.diagnosis.diagnosis import Diagnosis
    from pe_inspect.finding import Finding
    from pe_inspect.loading import Checkpoint

_PANEL: Final = "What it should fit"
_Expect = Annotated[
    int | None,
    typer.Option(
        "--expect",
        metavar="ROWS",
        help="The rows that your model expects: 197.",
        parser=whole("--expect", least=1),
        rich_help_panel=_PANEL,
        show_default=False,
    ),
]
_ExpectRes = Annotated[
    str | None,
    typer.Option(
        "--expect-res",
        metavar="R|HxW",
        help="The image size that your model is built for, in pixels: 384.",
        rich_help_panel=_PANEL,
        show_default=False,
    ),
]
_Against = Annotated[
    str | None,
    typer.Option(
        "--against",
        metavar="OTHER",
        help="A checkpoint whose model it should fit.",
        rich_help_panel=_PANEL,
        show_default=False,
    ),
]
_Allow = Annotated[
    list[str] | None,
    typer.Option(
        "--allow",
        metavar="CODE",
        help="A finding that is known and accepted. Can be given several times.",
        rich_help_panel=_PANEL,
        show_default=False,
    ),
]
_AskTimm = Annotated[
    bool,
    typer.Option(
        "--ask-timm",
        metavar="",
        help="Also have the installed timm resample a table (imports it: seconds).",
        rich_help_panel=_PANEL,
        show_default=False,
    ),
]


@command("doctor", panel=LOOK)
def doctor(
    source: Source,
    reading: Reading,
    terminal: Terminal,
    expect: _Expect = None,
    expect_res: _ExpectRes = None,
    against: _Against = None,
    allow: _Allow = None,
    ask_timm: _AskTimm = False,
) -> None:
    """Is it healthy, and why does it not fit? Exit code 0: healthy; 6: there are findings."""
    pixels = None if expect_res is None else pair("--expect-res", expect_res, one=True)
    from pe_inspect.diagnosis.doctor import allowed_codes
    from pe_inspect.diagnosis.doctor import doctor as diagnosed
    from pe_inspect.loading import ChangedMeanwhile

    accepted = allowed_codes(allow or [])

    def examined() -> tuple[Checkpoint, Diagnosis]:
        with transfers(quiet=terminal.quiet) as progress:
            checkpoint = _open(source.checkpoint, source, reading, terminal, progress)
            other = _open(against, source, Reading(), terminal, progress) if against else None
            return checkpoint, diagnosed(
                checkpoint, expect=expect, expect_res=pixels, against=other, ask_timm=ask_timm
            )

    try:
        checkpoint, found = examined()
    except ChangedMeanwhile:
        checkpoint, found = examined()
    known = [finding for finding in found.findings if finding.code in accepted]
    found = found.without(accepted)
    if terminal.json:
        write_json(_as_json(checkpoint, found, known))
    else:
        _print(found, known, quiet=terminal.quiet)
    if found.findings:
        raise typer.Exit(HAS_FINDINGS)


def _open(
    given: str | None,
    source: Source,
    reading: Reading,
    terminal: Terminal,
    progress: Transfers | None,
) -> Checkpoint:
    from pe_inspect.loading import load

    located = locate(given, no_train=source.no_train, quiet=terminal.quiet)
    if located.how and not terminal.quiet:
        complain(located.how)
    return load(
        located.source,
        hints=reading.hints(),
        state_dict_key=source.state_dict_key,
        tower=source.tower,
        trust_pickle=source.trust_pickle,
        progress=progress,
    )


def _as_json(checkpoint: Checkpoint, found: Diagnosis, known: list[Finding]) -> dict[str, Any]:
    return {
        "healthy": found.healthy,
        "findings": [finding.as_dict() for finding in found.findings],
        "allowed": [finding.as_dict() for finding in known],
        "readings": [ranked.as_dict() for ranked in found.readings],
        "notes": _notes(found),
        "checks": list(found.checks),
        "source": checkpoint.source,
        "format": checkpoint.format,
        "embeddings": [as_json(pe) for pe in found.tables],
        "versions": versions(),
        "command": command_line(),
    }


def _notes(found: Diagnosis) -> list[str]:
    return list(dict.fromkeys([*found.notes, *(note for pe in found.tables for note in pe.notes)]))


def _print(found: Diagnosis, known: list[Finding], *, quiet: bool) -> None:
    for pe in found.tables:
        write_line(pe.headline)
    if quiet:
        lines = [finding_line(finding) for finding in found.findings]
    else:
        paragraphs = [line for finding in found.findings for line in paragraph(finding)]
        lines = [*paragraphs, *reading_lines(found.readings, found.findings)]
    for line in lines:
        write_line(line)
    if quiet:
        return
    for note in _notes(found):
        complain(f"Note: {note}")
    for line in ("", *verdict_lines(len(found.checks), found.findings, known)):
        write_line(line)
