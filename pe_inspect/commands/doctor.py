"""`pe-inspect doctor`: is a checkpoint healthy, and why does it not fit?"""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from itertools import groupby
from textwrap import wrap
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from pe_inspect.commands.shell.command_registry import LOOK, command
from pe_inspect.commands.shell.describe import aligned, as_json, command_line, versions
from pe_inspect.commands.shell.locate import locate
from pe_inspect.commands.shell.options import Reading, Source, Terminal
from pe_inspect.commands.shell.parsing import pair, whole
from pe_inspect.commands.shell.terminal import complain, write_json, write_line
from pe_inspect.commands.shell.transfers import Transfers, transfers
from pe_inspect.diagnosis.examination import (
    Examination,
    Expected,
    Ranked,
    allowed_codes,
    examine,
)
from pe_inspect.errors import AmbiguousCheckpoint

if TYPE_CHECKING:
    from pe_inspect.finding import Finding
    from pe_inspect.loading import Checkpoint

FINDINGS: Final = AmbiguousCheckpoint.exit_code
MOST_READINGS: Final = 6
NARROWEST: Final = 40
WIDEST: Final = 96  # of a paragraph
ENDLESS: Final = 1000  # of what is no terminal
INDENT: Final = "  "
MEND: Final = "  → "
NO_BREAK: Final = "\N{NO-BREAK SPACE}"
# A command in a sentence: it is pasted whole.
COMMAND: Final = re.compile(r"`[^`]*`|pe-inspect [a-z]+( [^ ]*[./][^ ]*| --[^ ]+( [A-Z]\w*)?)*")

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
        write_line("")
        for line in _wrapped(_verdict(found, wrong, known)):
            write_line(line)


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
        lines += _fitted([_row(reading) for reading in each[:MOST_READINGS]])
        if len(each) > MOST_READINGS:
            lines.append(f"  … and {len(each) - MOST_READINGS} more ways (--json lists them)")
    return lines


def _fitted(rows: Sequence[tuple[str, str]]) -> list[str]:
    """Return two columns; where the terminal is narrower, the second below the first."""
    lines = aligned(rows)
    if max(map(len, lines)) <= _columns():
        return lines
    return [
        line
        for name, text in rows
        for line in (*_wrapped(name, INDENT), *_wrapped(text, 2 * INDENT))
    ]


def _row(ranked: Ranked) -> tuple[str, str]:
    taken = ["taken"] if ranked.is_taken else []
    alike = [] if ranked.smoothness is None else [f"neighbours correlate {ranked.smoothness:.2f}"]
    return str(ranked.reading), " · ".join([*taken, ranked.reading.because, *alike])


def _paragraph(finding: Finding, *, quiet: bool) -> list[str]:
    """Return a finding: what was seen, why it matters, what to do."""
    if quiet:
        return [f"{finding.code}: {finding.message}"]
    body = [*_wrapped(finding.message, INDENT), *_wrapped(finding.why, INDENT)]
    mend = [line for text in finding.mend.splitlines() for line in _to_do(text)]
    return ["", f"{finding.code} ({finding.severity})", *body, *mend]


def _to_do(text: str) -> list[str]:
    """Return a sentence in lines; what is no sentence is to be pasted, and stays in one."""
    if not text.endswith("."):
        return [MEND + text]
    return _wrapped(text, MEND, " " * len(MEND))


def _wrapped(text: str, first: str = "", others: str | None = None) -> list[str]:
    """Return a text in lines that fit the terminal; keys, paths and commands stay whole."""
    kept = COMMAND.sub(lambda command: command[0].replace(" ", NO_BREAK), text)
    lines = wrap(
        kept,
        min(_columns(), WIDEST),
        initial_indent=first,
        subsequent_indent=first if others is None else others,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return [line.replace(NO_BREAK, " ") for line in lines]


def _columns() -> int:
    return max(NARROWEST, shutil.get_terminal_size((ENDLESS, 24)).columns)
