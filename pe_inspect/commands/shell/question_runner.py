"""What every question's command does: open, plan, ask, draw, write, print."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from pe_inspect.commands.shell.describe import (
    aligned,
    as_json,
    command_line,
    number,
    versions,
)
from pe_inspect.commands.shell.locate import is_remote, locate
from pe_inspect.commands.shell.options import Asked, Drawing, Output, Reading, Source, Terminal
from pe_inspect.commands.shell.terminal import complain, working, write_json, write_line
from pe_inspect.errors import NoPositionEmbedding, OutputError, UsageError

if TYPE_CHECKING:
    from pe_inspect.commands.shell.transfers import Transfers
    from pe_inspect.files import OutputFolder
    from pe_inspect.kinds.position_embedding import PositionEmbedding
    from pe_inspect.loading import Checkpoint

__all__ = [
    "OpenedCheckpoint",
    "Question",
    "answer",
    "described",
    "open_subject",
    "output_folder",
    "parameters_and_summary",
    "summary_lines",
    "write_arrays",
    "write_table",
]

REPORTS = Path("reports")


@dataclass(frozen=True)
class OpenedCheckpoint:
    """A checkpoint that was opened, and the embeddings found in it."""

    name: str
    checkpoint: Checkpoint
    tables: tuple[PositionEmbedding, ...]

    def suffixes(self) -> list[str]:
        """Return what is added to file names: nothing for the first embedding, then its family."""
        seen: list[str] = []
        for pe in self.tables:
            same = sum(name.startswith(pe.family) for name in seen)
            seen.append(pe.family if not same else f"{pe.family}_{same + 1}")
        return ["", *(f"_{name}" for name in seen[1:])]


def summary_lines(result: Any) -> list[str]:
    """Return the numbers of a result, one a line."""
    return aligned({name: number(value) for name, value in result.summary().items()})


def parameters_and_summary(result: Any) -> dict[str, Any]:
    """Return what the JSON object holds of every result."""
    return {"parameters": result.parameters, "summary": result.summary()}


@dataclass(frozen=True)
class Question:
    """One question: how it is asked and drawn, and what data files it has.

    Attributes:
        name: the word that names it everywhere; every file of it begins with this word.
        ask: the library call: of an embedding, or of the checkpoint.
        draw: options of its figures.
        figures: how the names of its figures go on after that word; `*` stands for any letters.
        data: what `--save-data` writes: file extension → writer of (result, file).
        lines: what is printed of a result.
        told: what the JSON object holds of a result.
        whole: what the whole JSON object holds beside the entries.
        made: files that were made besides those of the question's folder.
        is_of_checkpoint: whether it is asked once, of the whole checkpoint, which may hold no
            embedding, and tells on the terminal how far it is; else of each embedding.
    """

    name: str
    ask: Callable[[Any], Any]
    data: dict[str, Callable[[Any, IO[bytes]], Any]]
    draw: dict[str, Any] = field(default_factory=dict)
    figures: tuple[str, ...] = ("", "_*")
    lines: Callable[[Any], Sequence[str]] = summary_lines
    told: Callable[[Any], dict[str, Any]] = parameters_and_summary
    whole: dict[str, Any] = field(default_factory=dict)
    made: tuple[Path, ...] = ()
    is_of_checkpoint: bool = False


@dataclass(frozen=True)
class Target:
    """What a question is asked of, once.

    Attributes:
        asked: the embedding, or the checkpoint.
        tables: the embeddings that the answer is about.
        suffix: what is added to the names of its files.
    """

    asked: Any
    tables: tuple[PositionEmbedding, ...]
    suffix: str = ""


def open_subject(
    source: Source,
    reading: Reading,
    terminal: Terminal,
    *,
    with_sha256: bool,
    may_lack: bool = False,
) -> OpenedCheckpoint:
    """Locate and load the checkpoint, and extract its embeddings; say what was chosen.

    With `may_lack`, a checkpoint without any is no error: it has no tables.
    """
    located = locate(source.checkpoint, no_train=source.no_train, quiet=terminal.quiet)
    if located.how and not terminal.quiet:
        complain(located.how)
    from pe_inspect.families import extract
    from pe_inspect.loading import ChangedMeanwhile, load

    def opened() -> OpenedCheckpoint:
        with _transfers(located.source, quiet=terminal.quiet) as progress:
            checkpoint = load(
                located.source,
                hints=reading.hints(),
                state_dict_key=source.state_dict_key,
                tower=source.tower,
                trust_pickle=source.trust_pickle,
                progress=progress,
            )
            try:
                tables = extract(checkpoint, with_sha256=with_sha256)
            except NoPositionEmbedding:
                if not may_lack:
                    raise
                tables = ()
        return OpenedCheckpoint(located.name, checkpoint, tables)

    try:
        return opened()
    except ChangedMeanwhile:
        return opened()


def _transfers(source: str, *, quiet: bool) -> AbstractContextManager[Transfers | None]:
    """Return what `load` is to tell of transfers: a file of this machine makes none."""
    if not is_remote(source):
        return nullcontext()
    from pe_inspect.commands.shell.transfers import transfers

    return transfers(quiet=quiet)


def described(subject: OpenedCheckpoint) -> dict[str, Any]:
    """Return what one checkpoint of a page is, as one JSON object."""
    return {
        "source": subject.checkpoint.source,
        "sha256": subject.checkpoint.sha256,
        "format": subject.checkpoint.format,
        "embeddings": [as_json(pe) for pe in subject.tables],
        "notes": [note for pe in subject.tables for note in pe.notes],
    }


def write_table(result: Any, file: IO[bytes]) -> None:
    """Write the result's data frame as CSV: UTF-8, one header line, no index."""
    file.write(result.to_frame().to_csv(index=False, lineterminator="\n").encode())


def write_arrays(result: Any, file: IO[bytes], **more: Any) -> None:
    """Write the columns of the result's data frame as arrays of their names, and more arrays."""
    import numpy as np

    for name, column in result.to_frame().items():
        more[name] = np.array(column.tolist())
    np.savez(file, **more)


def output_folder(output: Output, name: str) -> OutputFolder:
    """Return the folder of --out, else reports/<checkpoint name>/."""
    from pe_inspect.files import OutputFolder

    return OutputFolder(output.out if output.out is not None else REPORTS / name, output.force)


def answer(question: Question, asked: Asked, subject: OpenedCheckpoint | None = None) -> None:
    """Ask one question, write its files, and print the answers.

    Args:
        question: what is asked.
        asked: what was typed.
        subject: the checkpoint, where it is open already.
    """
    if subject is None:
        subject = open_subject(
            asked.source, asked.reading, asked.terminal,
            with_sha256=asked.terminal.json, may_lack=question.is_of_checkpoint,
        )  # fmt: skip
    folder = output_folder(asked.output, subject.name)
    if asked.data.save_data or not asked.drawing.no_figures:
        folder.claim_matching(_names(question, subject, asked))
    entries = _entries(question, subject, asked, folder)
    folder.written += question.made
    if asked.terminal.json:
        write_json({**_whole(question, subject, entries, folder), **question.whole})
    else:
        for path in folder.written:
            write_line(f"Wrote {path}")


def _entries(
    question: Question, subject: OpenedCheckpoint, asked: Asked, folder: OutputFolder
) -> list[dict[str, Any]]:
    """Answer for every target; where the question does not apply to one, that is its entry.

    Raises:
        UsageError: it applies to none of them.
    """
    entries, refusals = [], []
    for target in _targets(question, subject):
        try:
            entries.append(_ask(question, target, asked, folder))
        except OutputError:
            raise
        except UsageError as error:  # the question does not apply to this embedding
            entries.append({**_described(target), "error": str(error)})
            refusals.append(error)
    if len(refusals) == len(entries):
        raise refusals[0]
    for refusal in refusals:
        complain(f"Note: {refusal}")
    return entries


def _targets(question: Question, subject: OpenedCheckpoint) -> list[Target]:
    if question.is_of_checkpoint:
        return [Target(subject.checkpoint, subject.tables)]
    return [Target(pe, (pe,), name) for pe, name in zip(subject.tables, subject.suffixes())]


def _described(target: Target) -> dict[str, Any]:
    """Return the one embedding that a target is, as JSON; nothing of a whole checkpoint."""
    is_one = target.tables and target.asked is target.tables[0]
    return as_json(target.asked) if is_one else {}


def _names(question: Question, subject: OpenedCheckpoint, asked: Asked) -> Iterator[str]:
    """Yield the names of all files that this run can write, or patterns of them."""
    drawing = asked.drawing
    each = ("_*",) if getattr(drawing, "each", False) else ()
    figures = () if drawing.no_figures else (*question.figures, *each)
    for suffix in subject.suffixes():
        for ending in figures:
            yield f"{question.name}{ending}{suffix}.{drawing.format}"
        for extension in question.data if asked.data.save_data else ():
            yield f"{question.name}{suffix}{extension}"


def _ask(question: Question, target: Target, asked: Asked, folder: OutputFolder) -> dict[str, Any]:
    """Answer for one target; return its entry in the JSON object."""
    for pe in () if asked.terminal.json else target.tables:
        write_line(pe.headline)
    with _watched(question, target, quiet=asked.terminal.quiet):
        result = _results(question, target, asked, folder)
    notes = list(
        dict.fromkeys([*(note for pe in target.tables for note in pe.notes), *result.notes])
    )
    _print(question, result, notes, asked.terminal)
    return {**_described(target), **question.told(result), "notes": notes}


def _watched(question: Question, target: Target, *, quiet: bool) -> AbstractContextManager[None]:
    """Return a context that tells on a terminal how long it takes; some questions tell more."""
    if question.is_of_checkpoint:
        return nullcontext()
    return working(f"{question.name} of {target.tables[0].family}", quiet=quiet)


def _results(question: Question, target: Target, asked: Asked, folder: OutputFolder) -> Any:
    """Ask, draw and write; the numbers are computed here too, where somebody watches the time."""
    result = question.ask(target.asked)
    result.summary()
    if not asked.drawing.no_figures:
        _draw(question, result, target.suffix, asked.drawing, folder)
    if asked.data.save_data:
        _save(question, result, target.suffix, folder)
    return result


def _print(question: Question, result: Any, notes: Sequence[str], terminal: Terminal) -> None:
    if terminal.quiet:
        return
    for line in () if terminal.json else question.lines(result):
        write_line(line)
    for note in notes:
        complain(f"Note: {note}")


def _draw(
    question: Question, result: Any, suffix: str, drawing: Drawing, folder: OutputFolder
) -> None:
    from pe_inspect.figures.saving import save

    for stem, figure in _figures(question, result, drawing):
        write = partial(save, figure, format=drawing.format, dpi=drawing.dpi)
        folder.write(f"{stem}{suffix}.{drawing.format}", write)


def _figures(question: Question, result: Any, drawing: Drawing) -> Iterator[tuple[str, Any]]:
    from pe_inspect.figures import drawings, drawings_each

    yield from drawings[question.name](result, **question.draw).items()
    if getattr(drawing, "each", False):
        yield from drawings_each[question.name](result, **question.draw)


def _save(question: Question, result: Any, suffix: str, folder: OutputFolder) -> None:
    for extension, write in question.data.items():
        folder.write(f"{question.name}{suffix}{extension}", partial(write, result))


def _whole(
    question: Question,
    subject: OpenedCheckpoint,
    entries: Sequence[dict[str, Any]],
    folder: OutputFolder,
) -> dict[str, Any]:
    """Return the JSON object: the first answer on top, then every embedding, with its own answer.

    What was asked of the whole checkpoint is told once, on top.
    """
    first = next(entry for entry in entries if "error" not in entry)
    top: dict[str, Any] = {name: first[name] for name in ("parameters", "summary", "notes")}
    keys: list[str] = list(first.get("keys", ()))
    if question.is_of_checkpoint:
        top, keys = first, [key for pe in subject.tables[:1] for key in pe.keys]
        entries = [as_json(pe) for pe in subject.tables]
    return {
        "question": question.name,
        "source": subject.checkpoint.source,
        "sha256": subject.checkpoint.sha256,
        "format": subject.checkpoint.format,
        "keys": keys,
        **top,
        "embeddings": list(entries),
        "written": [str(path) for path in folder.written],
        "versions": versions(),
        "command": command_line(),
    }
