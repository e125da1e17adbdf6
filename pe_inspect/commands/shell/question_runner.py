"""What every question's command does: open, plan, ask, draw, write, print."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
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
from pe_inspect.commands.shell.locate import locate
from pe_inspect.commands.shell.options import Asked, Drawing, Output, Reading, Source, Terminal
from pe_inspect.commands.shell.terminal import complain, working, write_json, write_line
from pe_inspect.commands.shell.transfers import transfers
from pe_inspect.errors import NoPositionEmbedding, OutputError, UsageError
from pe_inspect.files import OutputFolder

if TYPE_CHECKING:
    from pe_inspect.kinds.position_embedding import PositionEmbedding
    from pe_inspect.loading import Checkpoint

__all__ = [
    "Question",
    "Subject",
    "answer",
    "open_subject",
    "output_folder",
    "write_arrays",
    "write_table",
]

REPORTS = Path("reports")


@dataclass(frozen=True)
class Subject:
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


@dataclass(frozen=True)
class Question:
    """One question: how it is asked and drawn, and what data files it has.

    Attributes:
        name: the word that names it everywhere; every file of it begins with this word.
        ask: the library call.
        draw: options of its figures.
        figures: how the names of its figures go on after that word; `*` stands for any letters.
        data: what `--save-data` writes: file extension → writer of (result, file).
        lines: what is printed below the summary.
        more: what the JSON entry holds beside the summary.
        whole: what the whole JSON object holds beside the entries.
        made: files that were made besides those of the question's folder.
    """

    name: str
    ask: Callable[[PositionEmbedding], Any]
    data: dict[str, Callable[[Any, IO[bytes]], Any]]
    draw: dict[str, Any] = field(default_factory=dict)
    figures: tuple[str, ...] = ("", "_*")
    lines: Callable[[Any], Sequence[str]] = lambda _: ()
    more: Callable[[Any], dict[str, Any]] = lambda _: {}
    whole: dict[str, Any] = field(default_factory=dict)
    made: tuple[Path, ...] = ()


def open_subject(
    source: Source,
    reading: Reading,
    terminal: Terminal,
    *,
    with_sha256: bool,
    may_lack: bool = False,
) -> Subject:
    """Locate and load the checkpoint, and extract its embeddings; say what was chosen.

    With `may_lack`, a checkpoint without any is no error: it has no tables.
    """
    located = locate(source.checkpoint, no_train=source.no_train, quiet=terminal.quiet)
    if located.how and not terminal.quiet:
        complain(located.how)
    from pe_inspect.families import extract
    from pe_inspect.loading import ChangedMeanwhile, load

    def opened() -> Subject:
        with transfers(quiet=terminal.quiet) as progress:
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
        return Subject(located.name, checkpoint, tables)

    try:
        return opened()
    except ChangedMeanwhile:
        return opened()


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
    return OutputFolder(output.out if output.out is not None else REPORTS / name, output.force)


def answer(question: Question, asked: Asked, subject: Subject | None = None) -> None:
    """Ask one question of every embedding in a checkpoint; write its files; print the answers.

    Args:
        question: what is asked.
        asked: what was typed.
        subject: the checkpoint, where it is open already.
    """
    if subject is None:
        subject = open_subject(
            asked.source, asked.reading, asked.terminal, with_sha256=asked.terminal.json
        )
    folder = output_folder(asked.output, subject.name)
    if asked.data.save_data or not asked.drawing.no_figures:
        folder.claim_matching(_names(question, subject, asked))
    entries = _entries(question, subject, asked, folder)
    folder.written += question.made
    if asked.terminal.json:
        write_json({**_whole(question.name, subject, entries, folder), **question.whole})
    else:
        for path in folder.written:
            write_line(f"Wrote {path}")


def _entries(
    question: Question, subject: Subject, asked: Asked, folder: OutputFolder
) -> list[dict[str, Any]]:
    """Answer for every embedding; where the question does not apply to one, that is its entry.

    Raises:
        UsageError: it applies to none of them.
    """
    entries, refusals = [], []
    for pe, suffix in zip(subject.tables, subject.suffixes()):
        try:
            entries.append(_ask(question, pe, suffix, asked, folder))
        except OutputError:
            raise
        except UsageError as error:  # the question does not apply to this embedding
            entries.append({**as_json(pe), "error": str(error)})
            refusals.append(error)
    if len(refusals) == len(entries):
        raise refusals[0]
    for refusal in refusals:
        complain(f"Note: {refusal}")
    return entries


def _names(question: Question, subject: Subject, asked: Asked) -> Iterator[str]:
    """Yield the names of all files that this run can write, or patterns of them."""
    drawing = asked.drawing
    each = ("_*",) if getattr(drawing, "each", False) else ()
    figures = () if drawing.no_figures else (*question.figures, *each)
    for suffix in subject.suffixes():
        for ending in figures:
            yield f"{question.name}{ending}{suffix}.{drawing.format}"
        for extension in question.data if asked.data.save_data else ():
            yield f"{question.name}{suffix}{extension}"


def _ask(
    question: Question, pe: PositionEmbedding, suffix: str, asked: Asked, folder: OutputFolder
) -> dict[str, Any]:
    """Answer for one embedding; return its entry in the JSON object."""
    if not asked.terminal.json:
        write_line(pe.headline)
    with working(f"{question.name} of {pe.family}", quiet=asked.terminal.quiet):
        result = _results(question, pe, suffix, asked, folder)
    _print(question, pe, result, asked.terminal)
    return {
        **as_json(pe),
        "parameters": result.parameters,
        "summary": result.summary(),
        **question.more(result),
        "notes": _notes(pe, result),
    }


def _results(
    question: Question, pe: PositionEmbedding, suffix: str, asked: Asked, folder: OutputFolder
) -> Any:
    """Ask, draw and write; the numbers are computed here too, where somebody watches the time."""
    result = question.ask(pe)
    result.summary()
    if not asked.drawing.no_figures:
        _draw(question, result, suffix, asked.drawing, folder)
    if asked.data.save_data:
        _save(question, result, suffix, folder)
    return result


def _notes(pe: PositionEmbedding, result: Any) -> list[str]:
    return list(dict.fromkeys([*pe.notes, *result.notes]))


def _print(question: Question, pe: PositionEmbedding, result: Any, terminal: Terminal) -> None:
    if terminal.quiet:
        return
    if not terminal.json:
        for line in aligned({name: number(value) for name, value in result.summary().items()}):
            write_line(line)
        for line in question.lines(result):
            write_line(line)
    for note in _notes(pe, result):
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
    question: str, subject: Subject, entries: Sequence[dict[str, Any]], folder: OutputFolder
) -> dict[str, Any]:
    """Return the JSON object: the first embedding that has an answer on top, then all of them."""
    first = next(entry for entry in entries if "error" not in entry)
    return {
        "question": question,
        "source": subject.checkpoint.source,
        "sha256": subject.checkpoint.sha256,
        "format": subject.checkpoint.format,
        "keys": first["keys"],
        "parameters": first["parameters"],
        "summary": first["summary"],
        "notes": first["notes"],
        "embeddings": list(entries),
        "written": [str(path) for path in folder.written],
        "versions": versions(),
        "command": command_line(),
    }
