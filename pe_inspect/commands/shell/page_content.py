"""Opened checkpoints → the page: what questions are asked with, the doctor's findings, the run."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pe_inspect.commands.shell.describe import command_line
from pe_inspect.commands.shell.options import Opening, Reading, Resize, Selection, Source, Terminal
from pe_inspect.commands.shell.question_runner import OpenedCheckpoint
from pe_inspect.commands.shell.terminal import complain
from pe_inspect.errors import PEInspectError, UsageError

if TYPE_CHECKING:
    from pe_inspect.analysis.evolution import EvolutionResult
    from pe_inspect.diagnosis.diagnosis import Diagnosis
    from pe_inspect.kinds.position_embedding import PositionEmbedding
    from pe_inspect.page import Report

__all__ = ["Wanted", "check_wanted", "now", "page_of"]


@dataclass(frozen=True)
class Wanted:
    """What was typed of a page's content and look."""

    selection: Selection
    resize: Resize
    reading: Reading
    title: str | None = None
    max_mb: float = 10.0
    dpi: int | None = None

    def options(self) -> dict[str, dict[str, Any]]:
        """Return what the questions on the page are asked with, where the user said so."""
        norms = _given(ln_eps=self.reading.ln_eps)
        token = _given(token=self.selection.query())
        shown = _given(layer=self.selection.where(), head=self.selection.head)
        size: dict[str, Any] = {
            **self.resize.arguments(),
            **_given(patch_size=self.reading.patch()),
        }
        return {
            "interpolate": {**size, **token},
            "similarity": {**norms, **shown, **token},
            "layernorm": norms,
        }


def _given(**options: Any) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}


def check_wanted(tables: Sequence[PositionEmbedding], wanted: Wanted) -> list[str]:
    """Return why some embeddings have no such size, layer, head or patch.

    Raises:
        UsageError: none of them has.
    """
    from pe_inspect.analysis import questions

    refusals: list[str] = []
    for question, arguments in wanted.options().items():
        typed = wanted.resize.is_given if question == "interpolate" else bool(arguments)
        if typed and question != "layernorm":
            refusals += _refusals(questions[question], tables, arguments)
    return list(dict.fromkeys(refusals))


def _refusals(
    ask: Any, tables: Sequence[PositionEmbedding], arguments: dict[str, Any]
) -> list[str]:
    found: list[UsageError] = []
    for pe in tables:
        try:
            if pe.tables:
                ask(pe, **arguments)
        except UsageError as error:
            found.append(error)
    if found and len(found) == len(tables):
        raise found[0]
    return [str(error) for error in found]


def page_of(subjects: Sequence[OpenedCheckpoint], wanted: Wanted, *, quiet: bool) -> Report:
    """Return the page of one or several checkpoints, with their health and their history."""
    from pe_inspect.page import report as ask

    items = [item for subject in subjects for item in _items(subject, wanted, quiet=quiet)]
    return ask(
        items,
        title=wanted.title,
        command=command_line(),
        now=now(),
        options=wanted.options(),
        max_mb=wanted.max_mb,
        dpi=wanted.dpi,
    )


def _items(subject: OpenedCheckpoint, wanted: Wanted, *, quiet: bool) -> Iterator[Any]:
    """Yield each embedding with what the file and the run have to say of it."""
    yield from subject.tables
    yield from _diagnoses(subject)
    yield from _history(subject, wanted, quiet=quiet)


def _diagnoses(subject: OpenedCheckpoint) -> Iterator[Diagnosis]:
    """Yield what the doctor finds in each embedding, and in the file that holds them."""
    from pe_inspect.diagnosis.doctor import doctor_by_table

    return doctor_by_table(subject.checkpoint, subject.tables)


def _history(
    subject: OpenedCheckpoint, wanted: Wanted, *, quiet: bool
) -> Iterator[EvolutionResult]:
    """Yield the evolution of the first embedding, where the checkpoint lies in a run's folder."""
    from pe_inspect.analysis.evolution import evolution
    from pe_inspect.commands.evolution import opened
    from pe_inspect.commands.shell.snapshots import history_beside

    folder = history_beside(subject.checkpoint.path)
    if folder is None or not subject.tables:
        return
    chosen = wanted.options()["similarity"]
    try:
        run = opened(folder, Source(**vars(Opening())), wanted.reading, Terminal(quiet=True))
        for pe, last in zip(subject.tables, run.tables[-1]):
            yield evolution(run.history_of(last), epochs=run.epochs, of=pe, **chosen)
    except PEInspectError as error:
        if not quiet:
            complain(f"Note: the snapshots in {folder} are left out: {error}")


def now() -> datetime:
    """Return the time, or SOURCE_DATE_EPOCH: then the same input gives the same bytes."""
    epoch = os.environ.get("SOURCE_DATE_EPOCH", "")
    if epoch.isdecimal():
        return datetime.fromtimestamp(int(epoch), UTC)
    return datetime.now().astimezone()
