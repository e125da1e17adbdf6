"""`pe-inspect doctor`: is a checkpoint healthy, and why does it not fit?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from pe_inspect.commands.shell import LOOK, command
from pe_inspect.commands.shell.describe import as_json, command_line, versions
from pe_inspect.commands.shell.diagnosis_text import told_lines, verdict_lines
from pe_inspect.commands.shell.doctor_options import Expectation
from pe_inspect.commands.shell.opening import located_aloud, open_checkpoint, twice_if_changed
from pe_inspect.commands.shell.options import Reading, Source, Terminal
from pe_inspect.commands.shell.terminal import complain, write_json, write_line
from pe_inspect.commands.shell.transfers import transfers
from pe_inspect.errors import HAS_FINDINGS

if TYPE_CHECKING:
    from pe_inspect.diagnosis.diagnosis import Diagnosis
    from pe_inspect.finding import Finding
    from pe_inspect.loading import Checkpoint


@command("doctor", panel=LOOK)
def doctor(source: Source, reading: Reading, terminal: Terminal, expected: Expectation) -> None:
    """Is it healthy, and why does it not fit? Exit code 0: healthy; 6: there are findings."""
    from pe_inspect.diagnosis.doctor import allowed_codes

    accepted = allowed_codes(expected.allow or [])
    checkpoint, found = twice_if_changed(lambda: _examined(source, reading, terminal, expected))
    known = [finding for finding in found.findings if finding.code in accepted]
    found = found.without(accepted)
    if terminal.json:
        write_json(_as_json(checkpoint, found, known))
    else:
        _print(found, known, quiet=terminal.quiet)
    if found.findings:
        raise typer.Exit(HAS_FINDINGS)


def _examined(
    source: Source, reading: Reading, terminal: Terminal, expected: Expectation
) -> tuple[Checkpoint, Diagnosis]:
    from pe_inspect.diagnosis.doctor import doctor as ask

    def opened(given: str | None, reading: Reading) -> Checkpoint:
        located = located_aloud(given, source, terminal)
        return open_checkpoint(located, source, reading, progress)

    with transfers(quiet=terminal.quiet) as progress:
        checkpoint = opened(source.checkpoint, reading)
        other = opened(expected.against, Reading()) if expected.against else None
        return checkpoint, ask(
            checkpoint,
            expect=expected.expect,
            expect_res=expected.pixels(),
            against=other,
            ask_timm=expected.ask_timm,
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
    for line in (*(pe.headline for pe in found.tables), *told_lines(found, quiet=quiet)):
        write_line(line)
    if quiet:
        return
    for note in _notes(found):
        complain(f"Note: {note}")
    for line in ("", *verdict_lines(len(found.checks), found.findings, known)):
        write_line(line)
