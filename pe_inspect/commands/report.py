"""`pe-inspect report`: one self-contained page about one or several checkpoints."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from pe_inspect.commands import ANSWERS, command
from pe_inspect.commands._answer import Subject, open_subject, output_folder
from pe_inspect.commands._describe import as_json, command_line, versions
from pe_inspect.commands._options import Opening, Output, Reading, Resize, Source, Terminal
from pe_inspect.commands._terminal import complain, working, write_json, write_line
from pe_inspect.errors import UsageError

PAGE = "report.html"

_Checkpoints = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="CHECKPOINT",
        help="One or several; left out: the newest under ./checkpoints/, else the default recipe.",
        show_default=False,
    ),
]
_Title = Annotated[
    str | None, typer.Option("--title", metavar="TEXT", help="The heading of the page.")
]


@command("report", panel=ANSWERS)
def report(
    opening: Opening,
    resize: Resize,
    reading: Reading,
    output: Output,
    terminal: Terminal,
    checkpoints: _Checkpoints = None,
    title: _Title = None,
) -> None:
    """One self-contained page: every answer, with how to read it and where it comes from."""
    given: Sequence[str | None] = checkpoints or [None]
    subjects = [
        open_subject(Source(**vars(opening), checkpoint=name), reading, terminal, with_sha256=True)
        for name in given
    ]
    folder = output_folder(output, "-and-".join(subject.name for subject in subjects[:3]))
    folder.claim([PAGE])
    _check_target(subjects, resize, reading, terminal)
    _announce(subjects, terminal)
    with working("report", quiet=terminal.quiet):
        page = _page(subjects, title, resize, reading)
    folder.write(PAGE, lambda file: file.write(page))
    if terminal.json:
        write_json(_as_json(subjects, folder.written))
    else:
        write_line(f"Wrote {folder.path / PAGE}")


def _check_target(
    subjects: Sequence[Subject], resize: Resize, reading: Reading, terminal: Terminal
) -> None:
    """Say which embeddings the target size that was typed does not fit.

    Raises:
        UsageError: it fits none of them.
    """
    if not resize.is_given:
        return
    from pe_inspect.analysis.interpolate import interpolate

    size = _options(resize, reading)["interpolate"]
    refusals, tables = [], [pe for subject in subjects for pe in subject.tables]
    for pe in tables:
        try:
            interpolate(pe, **size)
        except UsageError as error:
            refusals.append(error)
    if refusals and len(refusals) == len(tables):
        raise refusals[0]
    for refusal in () if terminal.quiet else refusals:
        complain(f"Note: {refusal}")


def _announce(subjects: Sequence[Subject], terminal: Terminal) -> None:
    for subject in subjects:
        for pe in subject.tables:
            label = f"{subject.name}: " if len(subjects) > 1 else ""
            if not terminal.json:
                write_line(label + pe.headline)
            for note in () if terminal.quiet else pe.notes:
                complain(f"Note: {label}{note}")


def _page(
    subjects: Sequence[Subject], title: str | None, resize: Resize, reading: Reading
) -> bytes:
    from pe_inspect.report import report as ask

    tables = [pe for subject in subjects for pe in subject.tables]
    page = ask(
        tables, title=title, command=command_line(), now=_now(), options=_options(resize, reading)
    )
    return page.html.encode()


def _options(resize: Resize, reading: Reading) -> dict[str, dict[str, Any]]:
    """Return what the questions on the page are asked with, where the user said so."""
    norms = {} if reading.ln_eps is None else {"ln_eps": reading.ln_eps}
    size: dict[str, Any] = dict(resize.arguments())
    if reading.patch() is not None:
        size["patch_size"] = reading.patch()
    return {"interpolate": size, "similarity": norms, "layernorm": norms}


def _now() -> datetime:
    """Return the time, or SOURCE_DATE_EPOCH: then the same input gives the same bytes."""
    epoch = os.environ.get("SOURCE_DATE_EPOCH", "")
    if epoch.isdecimal():
        return datetime.fromtimestamp(int(epoch), UTC)
    return datetime.now().astimezone()


def _as_json(subjects: Sequence[Subject], written: Sequence[Any]) -> dict[str, Any]:
    return {
        "checkpoints": [
            {
                "source": subject.checkpoint.source,
                "sha256": subject.checkpoint.sha256,
                "format": subject.checkpoint.format,
                "embeddings": [as_json(pe) for pe in subject.tables],
                "notes": [note for pe in subject.tables for note in pe.notes],
            }
            for subject in subjects
        ],
        "written": list(written),
        "versions": versions(),
        "command": command_line(),
    }
