"""The page of any subjects: their embeddings, their health, and the runs that they are from."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from pe_inspect.analysis import questions
from pe_inspect.diagnosis.doctor import doctor_by_table
from pe_inspect.errors import PEInspectError
from pe_inspect.front import OpenedCheckpoint
from pe_inspect.front.evolution import open_history
from pe_inspect.front.filters import filters_of
from pe_inspect.front.live import LiveRun, live_answers
from pe_inspect.front.refusals import refusals_of
from pe_inspect.front.snapshots import history_beside
from pe_inspect.front.subject import Subject, each_of, opened
from pe_inspect.kinds.position_embedding import PositionEmbedding
from pe_inspect.page import Report
from pe_inspect.page import report as page_of

if TYPE_CHECKING:
    from pe_inspect.analysis.evolution import EvolutionResult
    from pe_inspect.analysis.filters import FiltersResult
    from pe_inspect.loading import Hints

__all__ = ["Options", "report", "unanswered"]

Options: TypeAlias = Mapping[str, Mapping[str, Any]]
_OF_EVOLUTION: Final = ("layer", "head", "token", "ln_eps")
"""What `similarity` is asked with, and the history of the same maps too."""


def report(
    subjects: Subject | Iterable[Any],
    *,
    family: str | None = None,
    title: str | None = None,
    command: str = "",
    now: datetime | str | None = None,
    labels: Sequence[str] | None = None,
    options: Options | None = None,
    max_mb: float = 10,
    dpi: int | None = None,
    hints: Hints | None = None,
    say: Callable[[str], object] | None = None,
    live: bool | LiveRun | None = False,
) -> Report:
    """Return the page of one or several subjects: `.save("report.html")` writes it.

    Every section that applies is asked of every embedding; the page says why the others do not.
    A whole checkpoint also has the doctor's findings, and its history where it lies in the folder
    of a run. Finished results are shown as they are; those of an embedding that is handed in too
    are used instead of asking again. The same arguments give the same bytes.

    Args:
        subjects: one or several of: a `PositionEmbedding`, the result of a question, a
            `Checkpoint`, a path or a name, a module, a state dict.
        family: look for this scheme only.
        title: the heading; by default it names the embeddings.
        command: the command line that makes the page, for its provenance.
        now: the date to print; none is printed without it.
        labels: a short name each; by default file names, with as much around them as is needed
            to tell them apart.
        options: question → keyword arguments, e.g. `{"interpolate": {"res": 384}}`, in pixels.
        max_mb: the page's size, at most, in units of 10⁶ bytes: a larger one has fewer maps to
            explore, evenly spaced, and says so.
        dpi: dots an inch of the pictures; by default each has what it needs.
        hints: what the snapshots of a run do not say, as `pe_inspect.load` takes it.
        say: is told what is left out of the page, in words; by default a warning is.
        live: whether the live model of every whole checkpoint is asked too: `True`, whatever it
            takes; `None`, where all are done within two minutes, else the page says how long.

    Raises:
        UsageError: there is nothing to report on, something is no subject, or no page is as
            small as `max_mb`.
        UnreadableCheckpoint: there is no such file, or it is damaged.
        NoPositionEmbedding: a checkpoint holds none.

    Example:
        >>> page = pe_inspect.report("ckpt.pth", options={"interpolate": {"grid": (24, 24)}})
        >>> page.save("report.html")
    """
    asked = options or {}
    tell = partial(warnings.warn, stacklevel=2) if say is None else say
    run = live if isinstance(live, LiveRun) else LiveRun(live)
    items = [
        item
        for subject in each_of(subjects)
        for item in _items(subject, family, asked.get("similarity", {}), hints, tell, run)
    ]
    return page_of(
        items,
        title=title,
        command=command,
        now=now,
        labels=labels,
        options=asked,
        max_mb=max_mb,
        dpi=dpi,
    )


def unanswered(tables: Sequence[PositionEmbedding], options: Options) -> list[str]:
    """Return why some embeddings have no such size, layer, head or patch.

    Args:
        tables: the embeddings of a page.
        options: as `report` takes them.

    Raises:
        UsageError: none of them has.
    """
    refusals = [
        refusal
        for question, arguments in options.items()
        if _is_refusable(question, arguments)
        for refusal in refusals_of(partial(_asked, question, arguments), tables)
    ]
    return list(dict.fromkeys(refusals))


def _asked(question: str, arguments: Mapping[str, Any], pe: PositionEmbedding) -> Any:
    return questions[question](pe, **arguments) if pe.tables else None


def _is_refusable(question: str, arguments: Mapping[str, Any]) -> bool:
    """Whether something was asked for that an embedding may lack: a place in it, or a size."""
    return bool(arguments) if question == "similarity" else bool({"res", "grid"} & set(arguments))


def _items(
    subject: Any,
    family: str | None,
    shown: Mapping[str, Any],
    hints: Hints | None,
    tell: Callable[[str], object],
    run: LiveRun,
) -> Iterator[Any]:
    """Yield what a page has of one subject: embeddings, their health, their history."""
    if isinstance(subject, PositionEmbedding) or hasattr(subject, "question"):
        yield subject
        return
    found = opened(subject, family)
    yield from found.tables
    yield from doctor_by_table(found.checkpoint, found.tables)
    yield from live_answers(found, run, tell)
    yield from _filters(found)
    yield from _history(found, shown, hints, tell)


def _filters(found: OpenedCheckpoint) -> Iterator[FiltersResult]:
    """Yield what the filters that make patches look for; of a model behind a stem, nothing."""
    try:
        answer = filters_of(found.checkpoint, found.tables)
    except PEInspectError:
        return
    if answer.pe is not None or len(found.tables) == 1:
        yield answer


def _history(
    found: OpenedCheckpoint,
    shown: Mapping[str, Any],
    hints: Hints | None,
    tell: Callable[[str], object],
) -> Iterator[EvolutionResult]:
    """Yield how each embedding came to be, where the checkpoint lies in a run's folder."""
    folder = history_beside(found.checkpoint.path)
    if folder is None or not found.tables:
        return
    chosen = {name: value for name, value in shown.items() if name in _OF_EVOLUTION}
    try:
        run = open_history(folder, hints=hints)
        for pe, last in zip(found.tables, run.last.tables):
            yield run.evolution(last, of=pe, **chosen)
    except PEInspectError as error:
        tell(f"the snapshots in {folder} are left out: {error}")
