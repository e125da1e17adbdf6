"""`pe-inspect doctor`: is a checkpoint healthy, and why does it not fit?"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from textwrap import indent, wrap
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from pe_inspect.commands import LOOK, command
from pe_inspect.commands._describe import aligned, as_json, command_line, versions
from pe_inspect.commands._examination import (
    Examination,
    Expected,
    Ranked,
    allowed_codes,
    examine,
)
from pe_inspect.commands._locate import locate
from pe_inspect.commands._options import Reading, Source, Terminal
from pe_inspect.commands._parsing import pair, whole
from pe_inspect.commands._terminal import complain, write_json, write_line
from pe_inspect.commands._transfers import Transfers, transfers
from pe_inspect.errors import AmbiguousCheckpoint

if TYPE_CHECKING:
    from pe_inspect.finding import Finding
    from pe_inspect.loading import Checkpoint

FINDINGS: Final = AmbiguousCheckpoint.exit_code
MOST_READINGS: Final = 6
WIDTH: Final = 96

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
    """Is it healthy, and why does it not fit? Exit code 0: healthy; 5: there are findings."""
    pixels = None if expect_res is None else pair("--expect-res", expect_res, one=True)
    accepted = allowed_codes(allow or [])
    from pe_inspect.loading import ChangedMeanwhile

    def examined() -> tuple[Checkpoint, Examination]:
        with transfers(quiet=terminal.quiet) as progress:
            checkpoint = _open(source.checkpoint, source, reading, terminal, progress)
            other = against and _open(against, source, Reading(), terminal, progress)
            expected = Expected(expect, pixels, other or None)
            return checkpoint, examine(checkpoint, expected, ask_timm=ask_timm)

    try:
        checkpoint, found = examined()
    except ChangedMeanwhile:
        checkpoint, found = examined()
    wrong = [finding for finding in found.findings if finding.code not in accepted]
    known = [finding for finding in found.findings if finding.code in accepted]
    if terminal.json:
        write_json(_as_json(checkpoint, found, wrong, known))
    else:
        _print(found, wrong, known, quiet=terminal.quiet)
    if wrong:
        raise typer.Exit(FINDINGS)


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


def _as_json(
    checkpoint: Checkpoint, found: Examination, wrong: list[Finding], known: list[Finding]
) -> dict[str, Any]:
    return {
        "healthy": not wrong,
        "findings": [finding.as_dict() for finding in wrong],
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


def _notes(found: Examination) -> list[str]:
    return list(dict.fromkeys([*found.notes, *(note for pe in found.tables for note in pe.notes)]))


def _print(found: Examination, wrong: list[Finding], known: list[Finding], *, quiet: bool) -> None:
    for pe in found.tables:
        write_line(pe.headline)
    if not quiet:
        for line in _readings(found.readings):
            write_line(line)
    for finding in wrong:
        for line in _paragraph(finding, quiet=quiet):
            write_line(line)
    if not quiet:
        for note in _notes(found):
            complain(f"Note: {note}")
    if not quiet:
        write_line(f"\n{_verdict(found, wrong, known)}")


def _verdict(found: Examination, wrong: list[Finding], known: list[Finding]) -> str:
    accepted = f", {len(known)} allowed ({', '.join(f.code for f in known)})" if known else ""
    if wrong:
        return f"{len(wrong)} finding{'s' if len(wrong) > 1 else ''}{accepted}."
    return f"Healthy: {len(found.checks)} checks found nothing{accepted}."


def _readings(ranked: Sequence[Ranked]) -> list[str]:
    """Return every table's readings, the likeliest first, the one that is taken marked."""
    lines: list[str] = []
    for key, group in groupby(ranked, key=lambda each: each.table.key):
        each = list(group)
        lines += ["", f"{key}: {each[0].table.rows} rows can be read as"]
        lines += aligned([_row(reading) for reading in each[:MOST_READINGS]])
        if len(each) > MOST_READINGS:
            lines.append(f"  … and {len(each) - MOST_READINGS} more ways (--json lists them)")
    return lines


def _row(ranked: Ranked) -> tuple[str, str]:
    taken = ["taken"] if ranked.is_taken else []
    alike = [] if ranked.smoothness is None else [f"neighbours correlate {ranked.smoothness:.2f}"]
    return str(ranked.reading), " · ".join([*taken, ranked.reading.because, *alike])


def _paragraph(finding: Finding, *, quiet: bool) -> list[str]:
    """Return a finding: what was seen, why it matters, what to do."""
    if quiet:
        return [f"{finding.code}: {finding.message}"]
    body = [*wrap(finding.message, WIDTH), *wrap(finding.why, WIDTH)]
    return ["", f"{finding.code} ({finding.severity})", indent("\n".join(body), "  "),
            indent(finding.mend, "  → ", lambda line: bool(line.strip()))]  # fmt: skip
